from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """In a transaction of its own: it reads the whole table, and locks nobody out of it."""

    dependencies = [
        ('credits', '0008_refund_of_nothing'),
    ]

    operations = [
        ValidateConstraint(model_name='ledgerentry', name='entry_changes_something'),
    ]
