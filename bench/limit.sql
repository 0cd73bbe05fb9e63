-- The tables of the limit (transaction.sql): a wallet, its ledger and the jobs, with no more
-- columns, constraints and indexes than the bare money transaction needs.
CREATE SCHEMA bench;
CREATE TABLE bench.wallet (
    user_id uuid PRIMARY KEY,
    balance integer NOT NULL CHECK (balance >= 0)
);
CREATE TABLE bench.job (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    prompt text NOT NULL,
    settings jsonb NOT NULL,
    credits integer NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ON bench.job (user_id, id);
CREATE TABLE bench.ledger_entry (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    job_id uuid NOT NULL,
    change integer NOT NULL,
    balance_after integer NOT NULL CHECK (balance_after >= 0),
    created_at timestamptz NOT NULL
);
CREATE INDEX ON bench.ledger_entry (user_id, id);
