"""All of an order that follows the lock of the wallet, as a function: one round trip."""

from django.db import migrations

from rendio.common import sql_functions


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0029_clearer_labels"),
        ("accounts", "0025_related_user_ids"),
        ("credits", "0013_debit_and_save_response"),
    ]

    operations = [
        sql_functions.install("generation", "generation_exposure"),
        sql_functions.install("generation", "generation_create_job"),
    ]
