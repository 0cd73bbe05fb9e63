"""Give each group and user the renamed permissions that correspond to the ones they have."""

from typing import Any

from django.db import migrations

from adminops.auth import roles

RENAMED = [
    ("generation", "model", "generationmodel"),
    ("generation", "route", "providerroute"),
    ("generation", "offence", "violation"),
    ("adminops", "adminaction", "auditlogentry"),
    ("billing", "historywalk", "backfillcursor"),
]


def copy_permissions(apps: Any, _schema_editor: Any) -> None:
    for app, before, after in RENAMED:
        permissions = apps.get_model("auth", "Permission").objects.filter(
            content_type__app_label=app
        )
        for action in ("view", "add", "change", "delete"):
            old = permissions.filter(codename=f"{action}_{before}").first()
            new = permissions.filter(codename=f"{action}_{after}").first()
            if old and new:
                for group in old.group_set.all():
                    group.permissions.add(new)
                for user in old.user_set.all():
                    user.user_permissions.add(new)


class Migration(migrations.Migration):
    dependencies = [
        ("adminops", "0026_labels"),
        ("generation", "0026_generation_models"),
        ("billing", "0011_labels"),
    ]

    operations = [
        # Creates the renamed permissions first.
        migrations.RunPython(roles.sync_groups, migrations.RunPython.noop),
        migrations.RunPython(copy_permissions, migrations.RunPython.noop),
    ]
