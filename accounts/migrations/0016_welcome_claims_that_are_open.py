from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Without a lock: phones check in meanwhile."""

    atomic = False

    dependencies = [
        ('accounts', '0015_welcome_turns'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='welcomeclaim',
            index=models.Index(models.F('due_at'), condition=models.Q(('due_at__isnull', False)), name='accounts_claim_due'),
        ),
        AddIndexConcurrently(
            model_name='welcomeclaim',
            index=models.Index(models.F('started_at'), condition=models.Q(('granted_at', None)), name='accounts_claim_open'),
        ),
    ]
