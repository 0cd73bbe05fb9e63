-- Debit a wallet's lots, earliest expiry first, and append the ledger entry.
--
-- The caller's transaction has locked the wallet in an earlier statement, so that each statement
-- here sees the changes of the lock's last holder. The caller has compared `amount` with the
-- balance; lots that hold less are an error, RD001.
CREATE OR REPLACE FUNCTION credits_debit(
    entry_id uuid, wallet_id uuid, kind text, amount integer, reason text,
    job_id uuid, actor_id uuid, now timestamptz
) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    lot record;
    part integer;
    missing integer := amount;
    lots jsonb := '[]';
    balance integer;
    debt integer;
    number integer;
BEGIN
    -- Usually the first lot is enough. A loop over the index costs less than one statement for all
    -- lots, with a window function.
    FOR lot IN
        SELECT spendable.id, spendable.remaining FROM credits_lot spendable
        WHERE spendable.wallet_id = wallet_id AND spendable.remaining > 0
        ORDER BY spendable.expires_at NULLS LAST, spendable.id
    LOOP
        part := least(lot.remaining, missing);
        UPDATE credits_lot debited SET remaining = debited.remaining - part WHERE debited.id = lot.id;
        lots := lots || jsonb_build_array(jsonb_build_array(lot.id, -part));
        missing := missing - part;
        EXIT WHEN missing = 0;
    END LOOP;
    IF missing > 0 THEN
        RAISE EXCEPTION 'the lots of wallet % do not add up to its balance', wallet_id
            USING ERRCODE = 'RD001';
    END IF;

    UPDATE credits_wallet debited
    SET balance = debited.balance - amount, entry_count = debited.entry_count + 1
    WHERE debited.id = wallet_id
    RETURNING debited.balance, debited.debt, debited.entry_count INTO balance, debt, number;

    INSERT INTO credits_ledgerentry (
        id, wallet_id, number, kind, change, balance_after, debt_change, debt_after,
        lots, reason, job_id, actor_id, created_at
    ) VALUES (
        entry_id, wallet_id, number, kind, -amount, balance, 0, debt,
        lots, reason, job_id, actor_id, now
    );
END $$;
