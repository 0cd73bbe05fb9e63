"""Debit and stored response as functions, so that an order needs one round trip for both."""

from django.db import migrations

from rendio.common import sql_functions


class Migration(migrations.Migration):
    dependencies = [("credits", "0012_sentence_case_labels")]

    operations = [
        sql_functions.install("credits", "credits_save_response"),
        sql_functions.install("credits", "credits_debit"),
    ]
