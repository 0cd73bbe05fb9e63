"""The database itself keeps the record append-only, whoever asks: Django, SQL by hand, TRUNCATE."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION adminops_record_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the record of support acts is never changed or deleted'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER admin_action_never_changes BEFORE UPDATE OR DELETE ON adminops_adminaction
    FOR EACH ROW EXECUTE FUNCTION adminops_record_is_append_only();
CREATE TRIGGER admin_actions_never_truncated BEFORE TRUNCATE ON adminops_adminaction
    FOR EACH STATEMENT EXECUTE FUNCTION adminops_record_is_append_only();
"""

BACKWARD = """
DROP TRIGGER admin_actions_never_truncated ON adminops_adminaction;
DROP TRIGGER admin_action_never_changes ON adminops_adminaction;
DROP FUNCTION adminops_record_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("adminops", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
