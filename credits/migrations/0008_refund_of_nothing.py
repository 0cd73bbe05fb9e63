from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    """A refund may change nothing. The new condition is the weaker one: the release before keeps to
    both."""

    dependencies = [
        ('credits', '0007_ledger_proof'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='ledgerentry',
            name='entry_changes_something',
        ),
        AddConstraintNotValid(
            model_name='ledgerentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('change', 0), _negated=True), models.Q(('debt_change', 0), _negated=True), ('kind', 'refund'), _connector='OR'), name='entry_changes_something'),
        ),
    ]
