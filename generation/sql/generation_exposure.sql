-- The limits on the cost of a person's jobs, for one more order (generation/exposure.py).
--
-- Ids are time-ordered: `unended_since` and `today` are the lowest ids of jobs that may not have
-- ended, and of today's jobs. `most_usd` is null without a daily limit.
CREATE OR REPLACE FUNCTION generation_exposure(
    user_id uuid, now timestamptz, unended_since uuid, today uuid, losses_since timestamptz,
    free_count integer, fee integer, max_cost_usd numeric, most_usd numeric,
    OUT cancel_fee integer, OUT held_until timestamptz, OUT is_over_limit boolean
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
DECLARE
    related uuid;
    free_unended bigint;
    free_losses bigint;
    free_total bigint := 0;
    cost_usd numeric;
    total_usd numeric := 0;
BEGIN
    -- User by user: for all at once, PostgreSQL scans everybody's jobs of the day by the primary
    -- key instead of the person's own by job_by_user.
    FOREACH related IN ARRAY accounts_related_user_ids(user_id) LOOP
        -- Unfinished jobs at their price, the others at their cost.
        SELECT count(*) FILTER (WHERE job.stage <> 'done' AND job.cancel_fee = 0),
               COALESCE(sum(
                   CASE WHEN job.stage <> 'done' THEN job.price_usd ELSE (
                       SELECT sum(request.cost_usd) FROM generation_providerrequest request
                       WHERE request.job_id = job.id
                   ) END
               ) FILTER (WHERE job.id >= today), 0)
        INTO free_unended, cost_usd
        FROM generation_job job
        WHERE job.user_id = related AND job.id >= unended_since;

        SELECT count(*) INTO free_losses
        FROM generation_job job
        WHERE job.user_id = related AND job.loss_usd IS NOT NULL AND job.fee_kept = 0
          AND job.completed_at > losses_since;

        free_total := free_total + free_unended + free_losses;
        total_usd := total_usd + cost_usd;
    END LOOP;

    SELECT max(offence.held_until) INTO held_until
    FROM generation_offence offence
    WHERE offence.user_id = user_id AND offence.held_until > now AND offence.forgiven_at IS NULL;

    cancel_fee := CASE WHEN free_total < free_count THEN 0 ELSE fee END;
    is_over_limit := COALESCE(total_usd + max_cost_usd > most_usd, false);
END $$;
