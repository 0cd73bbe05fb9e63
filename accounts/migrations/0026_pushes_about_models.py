from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0025_related_user_ids'),
    ]

    operations = [
        migrations.AlterField(
            model_name='push',
            name='kind',
            field=models.CharField(choices=[('job_completed', 'Job completed'), ('job_failed', 'Job failed'), ('job_late', 'Job completed after refund'), ('model_completed', 'Model completed'), ('model_failed', 'Training failed'), ('model_late', 'Model completed after refund'), ('credits_returned', 'Credits returned')], max_length=20),
        ),
    ]
