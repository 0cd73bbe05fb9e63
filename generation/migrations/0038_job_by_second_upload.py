from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The index is built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('generation', '0037_further_kinds'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('second_upload__isnull', False)), fields=['second_upload'], name='job_by_second_upload'),
        ),
    ]
