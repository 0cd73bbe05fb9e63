"""The users of one person, as a function that other functions of the database can call."""

from django.db import migrations

from rendio.common import sql_functions


class Migration(migrations.Migration):
    dependencies = [("accounts", "0024_clearer_labels")]

    operations = [sql_functions.install("accounts", "accounts_related_user_ids")]
