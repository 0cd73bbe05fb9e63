"""The columns keep their names: the release before runs on them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("adminops", "0029_sentence_case_labels")]

    operations = [
        migrations.AlterField(
            model_name="incident",
            name="which",
            field=models.CharField(
                "jobs",
                choices=[
                    ("stuck", "Running: fail and refund"),
                    ("delivered", "Completed: refund"),
                ],
                db_column="which",
                max_length=10,
            ),
        ),
        migrations.RenameField(model_name="incident", old_name="which", new_name="kind"),
        migrations.AlterField(
            model_name="pendingapproval",
            name="why",
            field=models.CharField(
                "approval required because",
                db_column="why",
                db_default="",
                default="",
                help_text="Why an approval is required.",
                max_length=500,
            ),
        ),
        migrations.RenameField(
            model_name="pendingapproval", old_name="why", new_name="approval_reason"
        ),
    ]
