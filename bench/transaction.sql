-- What one fresh generate-video does to the database and nothing else: the statements of
-- generation.services, for pgbench with prepared statements. The ledger is proved after it too.
\set number random(1, :users)
BEGIN;
SELECT id AS wallet, user_id AS owner, balance, debt, lifetime_total, entry_count, state,
       uuidv7() AS job
FROM credits_wallet
WHERE user_id = ('00000000-0000-4000-8000-' || lpad(:number, 12, '0'))::uuid
FOR UPDATE \gset
INSERT INTO credits_idempotencyrecord
    (user_id, operation, key, fingerprint, status, answer, expires_at)
VALUES (:owner::uuid, 'generate-video', gen_random_uuid(),
        '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', 200,
        jsonb_build_object('job_id', :job::uuid, 'status', 'pending', 'credits_used', 4,
                           'credits_remaining', :balance::int - 4),
        now() + interval '1 day')
ON CONFLICT (user_id, operation, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint, status = EXCLUDED.status, answer = EXCLUDED.answer,
    expires_at = EXCLUDED.expires_at
WHERE credits_idempotencyrecord.expires_at <= now();
WITH spendable AS (
    SELECT id, remaining,
           sum(remaining) OVER (ORDER BY expires_at NULLS LAST, id) - remaining AS before
    FROM credits_lot
    WHERE wallet_id = :wallet::uuid AND remaining > 0
), taken AS (
    UPDATE credits_lot lot
    SET remaining = lot.remaining - LEAST(s.remaining, 4 - s.before)
    FROM spendable s
    WHERE lot.id = s.id AND s.before < 4
    RETURNING lot.id, LEAST(s.remaining, 4 - s.before) AS amount
), wallet AS (
    UPDATE credits_wallet
    SET balance = balance - 4, entry_count = entry_count + 1
    WHERE id = :wallet::uuid
)
INSERT INTO credits_ledgerentry (
    id, wallet_id, number, kind, change, balance_after, debt_change, debt_after,
    lots, reason, job_id, transaction_id, actor_id, created_at
)
SELECT uuidv7(), :wallet::uuid, :entry_count::int + 1, 'charge', -4, :balance::int - 4, 0,
       :debt::int, all_taken.lots, 'generation', :job::uuid, NULL, NULL, now()
FROM (
    SELECT jsonb_agg(jsonb_build_array(id, -amount)) AS lots, sum(amount) AS total FROM taken
) all_taken
WHERE all_taken.total = 4;
INSERT INTO generation_job (
    id, user_id, model_id, theme_id, retry_of, prompt, upload_id, settings, credits, price_usd,
    cancel_fee, fee_kept, loss_usd, status, stage, queue, due_at, leased_until, deadline_at, tries, lost_leases, tried_routes,
    progress, expected_at, queue_position, cancel_requested_at, media_name, thumbnail_name,
    original_name, error_code, refund_entry_id, request_id, created_at, started_at, completed_at, deleted_at
) VALUES (
    :job::uuid, :owner::uuid, '00000000-0000-4000-8000-000000000003', NULL, NULL,
    'A red balloon over the sea, filmed from a boat at dawn', NULL,
    '{"duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}', 4, 0.4,
    0, 0, NULL, 'pending', 'submit', 'low', now(), NULL, now() + interval '120 seconds', 0, 0, '[]',
    0, NULL, NULL, NULL, '', '',
    '', '', NULL, gen_random_uuid()::text, now(), NULL, NULL, NULL
);
COMMIT;
