from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0018_upload_sizes'),
    ]

    operations = [
        migrations.AddField(
            model_name='job',
            name='cancel_fee',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Credits that its user may lose by ending it after its provider has begun, as the answer to the order said.'),
        ),
        migrations.AddField(
            model_name='job',
            name='fee_kept',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Credits that its refund left out.'),
        ),
        migrations.AddField(
            model_name='job',
            name='loss_usd',
            field=models.DecimalField(blank=True, decimal_places=4, help_text='What its provider took although its user ended it, or asked for what is not allowed (generation.lifecycle.bills).', max_digits=10, null=True),
        ),
        migrations.AddField(
            model_name='quote',
            name='orders',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='How often it was ordered with.'),
        ),
        AddConstraintNotValid(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('cancel_fee__lte', models.F('credits')), ('fee_kept__lte', models.F('cancel_fee'))), name='job_fee_was_said'),
        ),
    ]
