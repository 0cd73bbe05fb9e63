from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_account_deletion'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='tier_until',
            field=models.DateTimeField(blank=True, help_text='When a tier that was paid for ends, if nobody renews it.', null=True),
        ),
    ]
