from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The index is built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('adminops', '0021_pending_approvals'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='adminaction',
            index=models.Index(
                fields=['actor', 'at'],
                condition=models.Q(('credits__isnull', False)),
                name='admin_action_budget',
            ),
        ),
    ]
