-- The limit: the bare money transaction, for pgbench with prepared statements. Lock the wallet,
-- take the credits, write the ledger entry and the job, commit; on tables of its own (limit.sql).
-- No server that orders by a transaction on this PostgreSQL can do more. Rendio's order does more:
-- idempotency key, lots, limits of the person, more constraints and indexes.
\set number random(1, :users)
BEGIN;
SELECT user_id AS owner, balance, uuidv7() AS job
FROM bench.wallet
WHERE user_id = ('00000000-0000-4000-8000-' || lpad(:number, 12, '0'))::uuid
FOR UPDATE \gset
UPDATE bench.wallet SET balance = balance - 4 WHERE user_id = :owner::uuid;
INSERT INTO bench.ledger_entry (id, user_id, job_id, change, balance_after, created_at)
VALUES (uuidv7(), :owner::uuid, :job::uuid, -4, :balance::int - 4, now());
INSERT INTO bench.job (id, user_id, prompt, settings, credits, status, created_at)
VALUES (:job::uuid, :owner::uuid, 'A red balloon over the sea, filmed from a boat at dawn',
        '{"duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}', 4, 'pending', now());
COMMIT;
