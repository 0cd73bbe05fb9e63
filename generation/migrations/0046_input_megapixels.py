import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """What a provider charges for the images of an order."""

    dependencies = [
        ("generation", "0044_spend_counted_hourly"),
        ("generation", "0045_validate_completed_jobs"),
    ]

    operations = [
        migrations.AddField(
            model_name="providerroute",
            name="input_cost_usd",
            field=models.DecimalField(
                db_default=0,
                decimal_places=4,
                default=0,
                help_text="Added for each megapixel of the source images, rounded up for each image.",
                max_digits=8,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="input cost (USD)",
            ),
        ),
        migrations.AddField(
            model_name="providerroute",
            name="max_input_megapixels",
            field=models.PositiveSmallIntegerField(
                db_default=1,
                default=1,
                help_text="Megapixels of an order's images that the provider charges at most, because it makes larger images smaller. Margins are calculated with them.",
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
    ]
