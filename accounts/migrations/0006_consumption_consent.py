from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_tier_until'),
    ]

    operations = [
        migrations.AlterField(
            model_name='consent',
            name='kind',
            field=models.CharField(choices=[('terms', 'Terms'), ('privacy', 'Privacy'), ('ai_providers', 'Ai Providers'), ('consumption', 'Consumption')], max_length=12),
        ),
    ]
