from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    # Nobody's sign-in waits for the index to be built.
    atomic = False

    dependencies = [("accounts", "0007_attested_keys")]

    operations = [
        AddIndexConcurrently(
            model_name="user",
            index=models.Index(
                Upper("email"),
                condition=models.Q(email__isnull=False),
                name="accounts_user_email",
            ),
        ),
    ]
