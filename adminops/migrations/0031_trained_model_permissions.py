"""Staff see trained models and consents."""

from django.db import migrations

from adminops.auth import roles


class Migration(migrations.Migration):
    dependencies = [
        ("adminops", "0030_standard_names"),
        ("generation", "0040_training"),
    ]

    operations = [migrations.RunPython(roles.sync_groups, migrations.RunPython.noop)]
