"""The database itself keeps the ledger append-only, whoever asks: Django, SQL by hand, TRUNCATE."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION credits_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are never changed or deleted: write a further entry'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER ledger_entry_never_changes BEFORE UPDATE OR DELETE ON credits_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION credits_ledger_is_append_only();
CREATE TRIGGER ledger_never_truncated BEFORE TRUNCATE ON credits_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION credits_ledger_is_append_only();
"""

BACKWARD = """
DROP TRIGGER ledger_never_truncated ON credits_ledgerentry;
DROP TRIGGER ledger_entry_never_changes ON credits_ledgerentry;
DROP FUNCTION credits_ledger_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("credits", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
