from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):

    # The indexes are built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('generation', '0019_fees_and_losses'),
    ]

    operations = [
        ValidateConstraint(model_name='job', name='job_fee_was_said'),
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(fields=['user', 'id'], name='job_by_user'),
        ),
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('loss_usd__isnull', False)), fields=['user', 'completed_at'], name='job_losses_by_user'),
        ),
    ]
