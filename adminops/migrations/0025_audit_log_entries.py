import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from adminops.auth import roles


class Migration(migrations.Migration):

    dependencies = [
        ('adminops', '0024_clock_skew'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # The table keeps its name: the release before runs on it.
        migrations.AlterModelTable(name='adminaction', table='adminops_adminaction'),
        migrations.RenameModel(old_name='AdminAction', new_name='AuditLogEntry'),
        migrations.AlterModelOptions(
            name='auditlogentry',
            options={'permissions': [('refund_credits', 'Can act: refund credits'), ('adjust_credits', 'Can act: adjust credits'), ('ban_user', 'Can act: ban user'), ('unban_user', 'Can act: unban user'), ('toggle_model', 'Can act: toggle model'), ('assign_purchase', 'Can act: assign purchase'), ('reset_provider', 'Can act: reset provider'), ('switch_maintenance', 'Can act: switch maintenance'), ('retry_dead_letter', 'Can act: retry dead letter'), ('dismiss_dead_letter', 'Can act: dismiss dead letter'), ('make_code', 'Can act: make code'), ('change_code', 'Can act: change code'), ('toggle_code', 'Can act: toggle code'), ('release_purchase', 'Can act: release purchase'), ('forgive_offences', 'Can act: forgive offences'), ('override_refund', 'Can act: override refund'), ('refund_job', 'Can act: refund job'), ('fail_job', 'Can act: fail job'), ('retry_job', 'Can act: retry job'), ('reapply_delivery', 'Can act: reapply delivery'), ('reapply_notification', 'Can act: reapply notification'), ('reapply_purchase', 'Can act: reapply purchase'), ('dismiss_payload', 'Can act: dismiss payload'), ('revoke_sessions', 'Can act: revoke sessions'), ('toggle_route', 'Can act: toggle route'), ('approve_grant', 'Can act: approve'), ('run_incident', 'Can act: run incident'), ('reset_second_factor', 'Can act: reset second factor'), ('edit_product', 'Can act: edit product'), ('edit_model', 'Can act: edit model'), ('edit_theme', 'Can act: edit theme'), ('see_sensitive', "Can see e-mail addresses, devices and Apple's ids")], 'verbose_name_plural': 'audit log entries'},
        ),
        migrations.AlterField(
            model_name='auditlogentry',
            name='actor',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='audit_log_entries', to=settings.AUTH_USER_MODEL),
        ),
        migrations.RunPython(roles.sync_groups, migrations.RunPython.noop),
    ]
