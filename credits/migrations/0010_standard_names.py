from django.db import migrations, models


class Migration(migrations.Migration):
    """Fields and a model get their standard names. Tables and columns stay: no SQL runs."""

    dependencies = [
        ("credits", "0009_validate_refund_of_nothing"),
    ]

    operations = [
        migrations.AlterModelTable(name="ledgerproof", table="credits_ledgerproof"),
        migrations.RenameModel(old_name="LedgerProof", new_name="LedgerCheck"),
        migrations.AlterField(
            "ledgercheck",
            "proved_at",
            models.DateTimeField(
                blank=True, db_column="proved_at", help_text="When it last added up.", null=True
            ),
        ),
        migrations.RenameField("ledgercheck", "proved_at", "balanced_at"),
        migrations.AlterField(
            "ledgercheck",
            "looked_at",
            models.DateTimeField(blank=True, db_column="looked_at", null=True),
        ),
        migrations.RenameField("ledgercheck", "looked_at", "checked_at"),
        migrations.AlterField(
            "ledgercheck", "differences", models.IntegerField(db_column="differences", default=0)
        ),
        migrations.RenameField("ledgercheck", "differences", "discrepancies"),
        migrations.AlterField(
            "ledgercheck", "entries", models.BigIntegerField(db_column="entries", default=0)
        ),
        migrations.RenameField("ledgercheck", "entries", "entry_count"),
        migrations.AlterField(
            "idempotencyrecord", "answer", models.JSONField(db_column="answer")
        ),
        migrations.RenameField("idempotencyrecord", "answer", "response"),
        migrations.AlterField(
            "lot",
            "lapsed",
            models.IntegerField(
                db_column="lapsed", db_default=0, default=0, help_text="What expired unspent."
            ),
        ),
        migrations.RenameField("lot", "lapsed", "expired_amount"),
        migrations.AlterField(
            "lot",
            "taken_back",
            models.IntegerField(db_column="taken_back", db_default=0, default=0),
        ),
        migrations.RenameField("lot", "taken_back", "clawed_back"),
        migrations.AlterField(
            "lot", "owed", models.IntegerField(db_column="owed", db_default=0, default=0)
        ),
        migrations.RenameField("lot", "owed", "debt_from_clawback"),
        # The constraint is the same: only the names of its fields are new.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint("lot", "lot_holds_what_it_brought"),
                migrations.AddConstraint(
                    "lot",
                    models.CheckConstraint(
                        condition=models.Q(
                            remaining__gte=0,
                            expired_amount__gte=0,
                            clawed_back__gte=0,
                            debt_from_clawback__gte=0,
                        )
                        & models.Q(
                            amount__gte=models.F("remaining")
                            + models.F("expired_amount")
                            + models.F("clawed_back")
                        ),
                        name="lot_holds_what_it_brought",
                    ),
                ),
            ]
        ),
    ]
