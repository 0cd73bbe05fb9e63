"""New names of a model and a field. Table and column keep theirs: no SQL."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0020_attested_keys_that_are_unused")]

    operations = [
        migrations.AlterModelTable(name="spenttoken", table="accounts_spenttoken"),
        migrations.RenameModel(old_name="SpentToken", new_name="UsedToken"),
        migrations.AlterField(
            model_name="push",
            name="is_held",
            field=models.BooleanField(
                db_column="is_held",
                default=False,
                help_text="Apple refuses our key, team or topic: no fault of the phone's.",
            ),
        ),
        migrations.RenameField(
            model_name="push", old_name="is_held", new_name="blocked_by_credentials"
        ),
    ]
