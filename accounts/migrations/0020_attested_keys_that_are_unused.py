from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Without a lock: phones attest their keys meanwhile."""

    atomic = False

    dependencies = [
        ('accounts', '0019_language_changes'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='attestedkey',
            index=models.Index(models.F('created_at'), condition=models.Q(('last_used_at', None)), name='accounts_key_unused'),
        ),
    ]
