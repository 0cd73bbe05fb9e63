"""The balance as a function, so that a quote needs one round trip for it and the rest."""

from django.db import migrations

from rendio.common import sql_functions


class Migration(migrations.Migration):
    dependencies = [("credits", "0013_debit_and_save_response")]

    operations = [sql_functions.install("credits", "credits_balance")]
