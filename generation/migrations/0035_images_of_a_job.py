from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    """The files of a job with several images, and a refund of those that did not come. The new
    condition is the weaker one: the release before keeps to both."""

    dependencies = [
        ('generation', '0034_missing_results'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='job',
            name='job_fee_was_said',
        ),
        migrations.AddField(
            model_name='job',
            name='images',
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list, help_text="The files of an image job: media_name, thumbnail_name, width and height of each. The first is the job's own."),
        ),
        migrations.AlterField(
            model_name='job',
            name='fee_kept',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Credits that the refund left out: a fee, or the price of the delivered images.', verbose_name='fee charged (credits)'),
        ),
        AddConstraintNotValid(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('cancel_fee__lte', models.F('credits')), models.Q(('fee_kept__lte', models.F('cancel_fee')), models.Q(('fee_kept__lt', models.F('credits')), ('status', 'completed')), _connector='OR')), name='job_fee_was_said'),
        ),
    ]
