"""Labels in sentence case, and permissions with the names that their models state today."""

from typing import Any

from django.db import migrations, models


def rename_permissions(apps: Any, _schema_editor: Any) -> None:
    """Update the names of the permissions of all models. Django itself only creates permissions."""
    permissions = apps.get_model("auth", "Permission").objects
    for model in apps.get_models():
        options = model._meta
        own = permissions.filter(
            content_type__app_label=options.app_label, content_type__model=options.model_name
        )
        names = dict(options.permissions) | {
            f"{action}_{options.model_name}": f"Can {action} {options.verbose_name_raw}"
            for action in options.default_permissions
        }
        for codename, name in names.items():
            own.filter(codename=codename).exclude(name=name).update(name=name)


class Migration(migrations.Migration):

    dependencies = [
        ("adminops", "0028_credit_flow_labels"),
        ("accounts", "0023_sentence_case_labels"),
        ("billing", "0012_sentence_case_labels"),
        ("credits", "0012_sentence_case_labels"),
        ("generation", "0028_sentence_case_labels"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='auditlogentry',
            options={'permissions': [('refund_credits', 'Can refund credits'), ('adjust_credits', 'Can adjust credits'), ('ban_user', 'Can ban user'), ('unban_user', 'Can unban user'), ('toggle_model', 'Can put model on or off sale'), ('assign_purchase', 'Can assign purchase'), ('reset_provider', 'Can reset circuit breaker'), ('switch_maintenance', 'Can stop or resume orders'), ('retry_dead_letter', 'Can retry dead letter'), ('dismiss_dead_letter', 'Can dismiss dead letter'), ('make_code', 'Can create promotion code'), ('change_code', 'Can change promotion code'), ('toggle_code', 'Can stop or resume promotion code'), ('release_purchase', 'Can release purchase'), ('forgive_offences', 'Can clear violations'), ('override_refund', 'Can override refund preference'), ('refund_job', 'Can refund job'), ('fail_job', 'Can fail job'), ('retry_job', 'Can retry job'), ('reapply_delivery', 'Can reprocess webhook'), ('reapply_notification', 'Can reprocess notification'), ('reapply_purchase', 'Can reprocess purchase'), ('dismiss_payload', 'Can dismiss unreadable payload'), ('revoke_sessions', 'Can revoke sessions'), ('toggle_route', 'Can enable or disable route'), ('approve_grant', 'Can approve action'), ('run_incident', 'Can refund jobs in bulk'), ('reset_second_factor', 'Can reset second factor'), ('edit_product', 'Can edit product'), ('edit_model', 'Can edit model'), ('edit_theme', 'Can edit theme'), ('see_sensitive', "Can see sensitive data: e-mail addresses, devices and Apple's IDs")], 'verbose_name': 'audit log entry', 'verbose_name_plural': 'audit log'},
        ),
        migrations.AlterField(
            model_name='auditlogentry',
            name='action',
            field=models.CharField(choices=[('refund_credits', 'Refund credits'), ('adjust_credits', 'Adjust credits'), ('ban_user', 'Ban user'), ('unban_user', 'Unban user'), ('toggle_model', 'Put model on or off sale'), ('assign_purchase', 'Assign purchase'), ('reset_provider', 'Reset circuit breaker'), ('switch_maintenance', 'Stop or resume orders'), ('retry_dead_letter', 'Retry dead letter'), ('dismiss_dead_letter', 'Dismiss dead letter'), ('make_code', 'Create promotion code'), ('change_code', 'Change promotion code'), ('toggle_code', 'Stop or resume promotion code'), ('release_purchase', 'Release purchase'), ('forgive_offences', 'Clear violations'), ('override_refund', 'Override refund preference'), ('refund_job', 'Refund job'), ('fail_job', 'Fail job'), ('retry_job', 'Retry job'), ('reapply_delivery', 'Reprocess webhook'), ('reapply_notification', 'Reprocess notification'), ('reapply_purchase', 'Reprocess purchase'), ('dismiss_payload', 'Dismiss unreadable payload'), ('revoke_sessions', 'Revoke sessions'), ('toggle_route', 'Enable or disable route'), ('request_grant', 'Request approval'), ('approve_grant', 'Approve action'), ('decline_grant', 'Decline action'), ('run_incident', 'Refund jobs in bulk'), ('reset_second_factor', 'Reset second factor'), ('edit_product', 'Edit product'), ('edit_model', 'Edit model'), ('edit_theme', 'Edit theme')], max_length=20),
        ),
        migrations.AlterField(
            model_name='auditlogentry',
            name='subject_type',
            field=models.CharField(choices=[('user', 'User'), ('model', 'Model'), ('purchase', 'Purchase'), ('provider', 'Provider key'), ('service', 'Service'), ('letter', 'Dead letter'), ('code', 'Promotion code'), ('job', 'Job'), ('route', 'Route'), ('delivery', 'Webhook'), ('notice', 'Notification'), ('payload', 'Unreadable payload'), ('incident', 'Incident'), ('product', 'Product'), ('theme', 'Theme'), ('approval', 'Approval')], max_length=10),
        ),
        migrations.AlterField(
            model_name='pendingapproval',
            name='action',
            field=models.CharField(choices=[('refund_credits', 'Refund credits'), ('adjust_credits', 'Adjust credits'), ('ban_user', 'Ban user'), ('unban_user', 'Unban user'), ('toggle_model', 'Put model on or off sale'), ('assign_purchase', 'Assign purchase'), ('reset_provider', 'Reset circuit breaker'), ('switch_maintenance', 'Stop or resume orders'), ('retry_dead_letter', 'Retry dead letter'), ('dismiss_dead_letter', 'Dismiss dead letter'), ('make_code', 'Create promotion code'), ('change_code', 'Change promotion code'), ('toggle_code', 'Stop or resume promotion code'), ('release_purchase', 'Release purchase'), ('forgive_offences', 'Clear violations'), ('override_refund', 'Override refund preference'), ('refund_job', 'Refund job'), ('fail_job', 'Fail job'), ('retry_job', 'Retry job'), ('reapply_delivery', 'Reprocess webhook'), ('reapply_notification', 'Reprocess notification'), ('reapply_purchase', 'Reprocess purchase'), ('dismiss_payload', 'Dismiss unreadable payload'), ('revoke_sessions', 'Revoke sessions'), ('toggle_route', 'Enable or disable route'), ('request_grant', 'Request approval'), ('approve_grant', 'Approve action'), ('decline_grant', 'Decline action'), ('run_incident', 'Refund jobs in bulk'), ('reset_second_factor', 'Reset second factor'), ('edit_product', 'Edit product'), ('edit_model', 'Edit model'), ('edit_theme', 'Edit theme')], max_length=20),
        ),
        migrations.RunPython(rename_permissions, migrations.RunPython.noop),
    ]
