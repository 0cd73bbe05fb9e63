"""Model is GenerationModel, Route is ProviderRoute, Offence is Violation. The tables keep their
names: the release before runs on them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0025_labels"),
        # Its foreign keys name the models as they were.
        ("adminops", "0014_incidents"),
    ]

    operations = [
        migrations.AlterModelTable(name="model", table="generation_model"),
        migrations.RenameModel(old_name="Model", new_name="GenerationModel"),
        migrations.AlterModelOptions(name="generationmodel", options={"verbose_name": "model"}),
        migrations.AlterModelTable(name="route", table="generation_route"),
        migrations.RenameModel(old_name="Route", new_name="ProviderRoute"),
        migrations.AlterModelOptions(name="providerroute", options={"verbose_name": "route"}),
        migrations.AlterModelTable(name="offence", table="generation_offence"),
        migrations.RenameModel(old_name="Offence", new_name="Violation"),
        migrations.AlterField(
            model_name="violation",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="violations",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
