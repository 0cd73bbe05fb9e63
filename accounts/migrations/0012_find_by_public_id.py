from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # No device check waits for the index to be built.
    atomic = False

    dependencies = [("accounts", "0011_installation_secrets")]

    operations = [
        AddIndexConcurrently(
            model_name="device",
            index=models.Index(fields=["stored_public_id"], name="accounts_device_public_id"),
        ),
    ]
