from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The index is built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('generation', '0014_pace'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='providerrequest',
            index=models.Index(
                fields=['route', '-ended_at'],
                condition=models.Q(('state', 'finished')),
                name='request_recent_by_route',
            ),
        ),
    ]
