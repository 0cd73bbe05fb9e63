-- Refund a job's price, less `fee` credits, to a wallet, and append the ledger entry
-- (credits/services/charges.py states the rules). `entry` is the refund, or the first one if there
-- is one already, and null without a charge. `has_superseded`: superseded lots of the wallet hold
-- credits now.
--
-- The caller's transaction has locked the wallet in an earlier statement. Raises RD002 for a fee
-- above the price.
CREATE OR REPLACE FUNCTION credits_refund(
    entry_id uuid, wallet_id uuid, job_id uuid, fee integer, reason text, actor_id uuid,
    now timestamptz,
    OUT entry credits_ledgerentry, OUT has_superseded boolean
)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    charged record;
    returned record;
    debt integer;
    paid integer;
    repaid integer := 0;
    lots jsonb := '[]';
BEGIN
    SELECT first.* INTO entry FROM credits_ledgerentry first
    WHERE first.job_id = job_id AND first.kind = 'refund';
    IF FOUND THEN
        has_superseded := false;
        RETURN;
    END IF;
    SELECT -charge.change AS price, charge.lots, charge.created_at INTO charged
    FROM credits_ledgerentry charge WHERE charge.job_id = job_id AND charge.kind = 'charge';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF fee NOT BETWEEN 0 AND charged.price THEN
        RAISE EXCEPTION 'a fee of % credits for a price of %', fee, charged.price
            USING ERRCODE = 'RD002';
    END IF;

    SELECT wallet.debt INTO debt FROM credits_wallet wallet WHERE wallet.id = wallet_id;
    -- Lots that were clawed back repay first: the debt may be for their own credits.
    FOR returned IN
        SELECT lot.id, lot.superseded_at, part.part
        FROM credits_refundable_parts(charged.lots, fee) part
        JOIN credits_lot lot ON lot.id = part.lot_id
        ORDER BY lot.owed = 0, lot.id
    LOOP
        paid := CASE
            WHEN returned.superseded_at IS NULL THEN least(debt - repaid, returned.part) ELSE 0
        END;
        repaid := repaid + paid;
        CONTINUE WHEN paid = returned.part;
        -- A lot that has expired gets the time back that it had left at the charge, and no more:
        -- otherwise jobs that fail would extend a promotion.
        UPDATE credits_lot lot
        SET remaining = lot.remaining + returned.part - paid,
            expires_at = CASE
                WHEN lot.expires_at <= now
                THEN now + greatest(lot.expires_at - charged.created_at, interval '0')
                ELSE lot.expires_at
            END
        WHERE lot.id = returned.id;
        lots := lots || jsonb_build_array(jsonb_build_array(returned.id, returned.part - paid));
    END LOOP;

    UPDATE credits_wallet wallet
    SET balance = wallet.balance + charged.price - fee - repaid,
        debt = wallet.debt - repaid,
        entry_count = wallet.entry_count + 1
    WHERE wallet.id = wallet_id
    RETURNING wallet.balance, wallet.debt, wallet.entry_count
    INTO entry.balance_after, entry.debt_after, entry.number;
    INSERT INTO credits_ledgerentry AS refund (
        id, wallet_id, number, kind, change, balance_after, debt_change, debt_after,
        lots, reason, job_id, actor_id, created_at
    ) VALUES (
        entry_id, wallet_id, entry.number, 'refund', charged.price - fee - repaid,
        entry.balance_after, -repaid, entry.debt_after, lots, reason, job_id, actor_id, now
    )
    RETURNING refund.* INTO entry;
    has_superseded := EXISTS (
        SELECT FROM credits_lot lot
        WHERE lot.wallet_id = wallet_id AND lot.superseded_at IS NOT NULL AND lot.remaining > 0
    );
END $$;
