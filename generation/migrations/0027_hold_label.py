from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0026_generation_models")]

    operations = [
        migrations.AlterField(
            model_name="violation",
            name="held_until",
            field=models.DateTimeField("on hold until", null=True),
        ),
    ]
