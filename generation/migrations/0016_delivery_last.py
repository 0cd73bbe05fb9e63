from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The index is built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('generation', '0015_request_recent_by_route'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='webhookdelivery',
            index=models.Index(
                models.F('provider'),
                models.OrderBy(models.F('received_at'), descending=True),
                name='delivery_last',
            ),
        ),
    ]
