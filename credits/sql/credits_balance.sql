-- A user's balance, debt and lifetime total in credits; no row without a wallet.
CREATE OR REPLACE FUNCTION credits_balance(user_id uuid)
RETURNS TABLE (balance integer, debt integer, lifetime_total integer)
LANGUAGE sql STABLE AS $$
    SELECT wallet.balance, wallet.debt, wallet.lifetime_total
    FROM credits_wallet wallet WHERE wallet.user_id = credits_balance.user_id
$$;
