"""Names of models and fields alone: tables and columns keep theirs, so no SQL changes them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0023_loss_usd_help")]

    operations = [
        migrations.AlterModelTable(name="removal", table="generation_removal"),
        migrations.RenameModel(old_name="Removal", new_name="FileDeletion"),
        migrations.AlterModelTable(name="erasure", table="generation_erasure"),
        migrations.RenameModel(old_name="Erasure", new_name="AccountMediaDeletion"),
        migrations.AlterField(
            model_name="accountmediadeletion",
            name="job",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="media_deletion",
                to="generation.job",
            ),
        ),
        migrations.AlterField(
            model_name="providerrequest",
            name="is_told",
            field=models.BooleanField(
                db_column="is_told",
                db_default=False,
                default=False,
                help_text="A webhook has told of its end.",
            ),
        ),
        migrations.RenameField(
            model_name="providerrequest", old_name="is_told", new_name="webhook_received"
        ),
        migrations.AlterField(
            model_name="webhookdelivery",
            name="again_at",
            field=models.DateTimeField(blank=True, db_column="again_at", null=True),
        ),
        migrations.RenameField(
            model_name="webhookdelivery", old_name="again_at", new_name="retry_at"
        ),
    ]
