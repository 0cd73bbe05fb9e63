"""Plain labels for credit flows, and the renamed permissions of the notification backfill."""

from typing import Any

from django.db import migrations, models


def copy_permissions(apps: Any, _schema_editor: Any) -> None:
    """Give each group and user the permissions on billing's renamed model that they had."""
    permissions = apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label="billing"
    )
    for action in ("view", "add", "change", "delete"):
        old = permissions.filter(codename=f"{action}_historywalk").first()
        new = permissions.filter(codename=f"{action}_backfillcursor").first()
        if old and new:
            for group in old.group_set.all():
                group.permissions.add(new)
            for user in old.user_set.all():
                user.user_permissions.add(new)


class Migration(migrations.Migration):
    # The migration before creates the renamed permissions (roles.sync_groups).
    dependencies = [
        ("adminops", "0027_generation_model_permissions"),
    ]

    operations = [
        migrations.AlterField(
            model_name="creditday",
            name="flow",
            field=models.CharField(
                choices=[
                    ("sold", "Sold"),
                    ("tested", "Tested"),
                    ("granted", "Granted"),
                    ("spent", "Spent"),
                    ("refunded", "Refunded"),
                    ("lapsed", "Expired"),
                    ("taken back", "Clawed back"),
                    ("adjusted", "Adjusted"),
                ],
                max_length=10,
            ),
        ),
        migrations.RunPython(copy_permissions, migrations.RunPython.noop),
    ]
