"""When a result could not be fetched for the first time, and the webhook that reported the end."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0033_image_models")]

    operations = [
        migrations.AddField(
            "providerrequest",
            "fetch_failed_at",
            models.DateTimeField(
                blank=True,
                help_text="Time of the first failed fetch of the finished result.",
                null=True,
            ),
        ),
        migrations.AddField(
            "providerrequest",
            "webhook_delivery_id",
            models.UUIDField(
                "webhook delivery ID",
                blank=True,
                help_text="The latest webhook about this submission.",
                null=True,
            ),
        ),
    ]
