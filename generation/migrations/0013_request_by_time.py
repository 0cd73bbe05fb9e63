from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The index is built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('generation', '0012_spend_days'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='providerrequest',
            index=models.Index(fields=['sent_at'], name='request_by_time'),
        ),
    ]
