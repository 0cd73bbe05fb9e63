"""The refund of a job as one function, so that it needs one round trip after the wallet's lock."""

from django.db import migrations

from rendio.common import sql_functions


class Migration(migrations.Migration):
    dependencies = [("credits", "0014_balance")]

    operations = [
        sql_functions.install("credits", "credits_refundable_parts"),
        sql_functions.install("credits", "credits_refund"),
    ]
