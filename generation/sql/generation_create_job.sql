-- Create a job and charge for it: all of an order that follows the lock of the wallet.
--
-- One call instead of a round trip for each statement. Each statement has a snapshot of its own,
-- as it would if it were sent alone. Nothing is written if the order is refused (`held_until` or
-- `is_over_limit`), or if a response to its idempotency key is stored already (`is_new` is false).
-- The stored response gets the job's cancel fee.
CREATE OR REPLACE FUNCTION generation_create_job(
    -- the job
    job_id uuid, user_id uuid, model_id uuid, theme_id uuid, retry_of uuid, prompt text,
    upload_id uuid, second_upload_id uuid, settings jsonb, credits integer, price_usd numeric,
    queue text, deadline_at timestamptz, request_id text, now timestamptz,
    is_training boolean, trained_model_id uuid,
    -- the limits of the person (generation_exposure)
    unended_since uuid, today uuid, losses_since timestamptz, free_count integer, fee integer,
    max_cost_usd numeric, most_usd numeric,
    -- the response (credits_save_response)
    operation text, key uuid, fingerprint text, response jsonb, expires_at timestamptz,
    -- the charge (credits_debit)
    wallet_id uuid, entry_id uuid, quote_id uuid,
    OUT cancel_fee integer, OUT held_until timestamptz, OUT is_over_limit boolean,
    OUT is_new boolean
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
BEGIN
    SELECT exposure.cancel_fee, exposure.held_until, exposure.is_over_limit
    INTO cancel_fee, held_until, is_over_limit
    FROM generation_exposure(
        user_id, now, unended_since, today, losses_since, free_count, fee, max_cost_usd, most_usd
    ) exposure;
    is_new := false;
    IF held_until IS NOT NULL OR is_over_limit THEN
        RETURN;
    END IF;

    is_new := credits_save_response(
        user_id, operation, key, fingerprint, 200,
        response || jsonb_build_object('cancel_fee_after_start', cancel_fee), expires_at, now
    );
    IF NOT is_new THEN
        RETURN;
    END IF;

    PERFORM credits_debit(
        entry_id, wallet_id, 'charge', credits, 'generation', job_id, NULL, now
    );
    IF quote_id IS NOT NULL THEN
        UPDATE generation_quote quote SET orders = quote.orders + 1 WHERE quote.id = quote_id;
    END IF;
    -- In the state of a new Job (generation/models/jobs.py).
    INSERT INTO generation_job (
        id, user_id, model_id, theme_id, retry_of, prompt, upload_id, second_upload_id, settings,
        credits, price_usd, cancel_fee, queue, due_at, deadline_at, request_id, created_at,
        status, stage, tries, progress, media_name, thumbnail_name, error_code,
        is_training, trained_model_id
    ) VALUES (
        job_id, user_id, model_id, theme_id, retry_of, prompt, upload_id, second_upload_id, settings,
        credits, price_usd, cancel_fee, queue, now, deadline_at, request_id, now,
        'pending', 'submit', 0, 0, '', '', '',
        is_training, trained_model_id
    );
END $$;
