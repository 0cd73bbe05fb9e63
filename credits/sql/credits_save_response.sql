-- Store the response to an idempotency key; false, with nothing written, if there is one already.
-- Overwrites an expired record that has not been purged yet.
CREATE OR REPLACE FUNCTION credits_save_response(
    user_id uuid, operation text, key uuid, fingerprint text,
    status integer, response jsonb, expires_at timestamptz, now timestamptz
) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO credits_idempotencyrecord AS stored
        (user_id, operation, key, fingerprint, status, answer, expires_at)
    VALUES (user_id, operation, key, fingerprint, status, response, expires_at)
    ON CONFLICT ON CONSTRAINT idempotency_one_per_key DO UPDATE
    SET fingerprint = EXCLUDED.fingerprint,
        status = EXCLUDED.status,
        answer = EXCLUDED.answer,
        expires_at = EXCLUDED.expires_at
    WHERE stored.expires_at <= now;
    RETURN FOUND;
END $$;
