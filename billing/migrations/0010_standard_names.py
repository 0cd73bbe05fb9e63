import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Fields and two models get their standard names. Tables and columns stay: no SQL runs."""

    dependencies = [
        ("billing", "0009_debts_of_related_users"),
    ]

    operations = [
        migrations.AlterModelTable(name="historywalk", table="billing_historywalk"),
        migrations.RenameModel(old_name="HistoryWalk", new_name="BackfillCursor"),
        migrations.AlterModelTable(name="tokenchange", table="billing_tokenchange"),
        migrations.RenameModel(old_name="TokenChange", new_name="AppAccountTokenUpdate"),
        migrations.AlterField('purchase', 'problem', models.CharField(blank=True, choices=[('nobody', 'No owner'), ('closed', 'Account closed'), ('product', 'Unknown product'), ('held', 'Fraud review'), ('debt', 'A related user owes credits'), ('guardian', 'Parental consent withdrawn')], db_column='problem', max_length=10)),
        migrations.RenameField('purchase', 'problem', 'pending_reason'),
        migrations.AlterField('purchase', 'taken_share', models.PositiveIntegerField(db_column='taken_share', db_default=0, default=0, help_text='Of the credits, taken back by now: for refunds, and for an upgrade.')),
        migrations.RenameField('purchase', 'taken_share', 'clawed_back_share'),
        migrations.AlterField('fraudscore', 'marks', models.JSONField(db_column='marks')),
        migrations.RenameField('fraudscore', 'marks', 'signals'),
        migrations.AlterField('subscription', 'current', models.ForeignKey(blank=True, db_column='current_id', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.purchase')),
        migrations.RenameField('subscription', 'current', 'current_period'),
        migrations.AlterField('subscription', 'asked_at', models.DateTimeField(blank=True, db_column='asked_at', help_text='When Apple was last asked whether it goes on.', null=True)),
        migrations.RenameField('subscription', 'asked_at', 'checked_at'),
        # The index is the same: only the name of its field is new.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("purchase", "purchase_waiting"),
                migrations.AddIndex(
                    "purchase",
                    models.Index(
                        condition=models.Q(("pending_reason", ""), _negated=True),
                        fields=["recorded_at"],
                        name="purchase_waiting",
                    ),
                ),
            ]
        ),
    ]
