from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """In a transaction of its own: it reads the whole table, and locks nobody out of it."""

    dependencies = [
        ('generation', '0041_trainers'),
    ]

    operations = [
        ValidateConstraint(model_name='job', name='job_completed_has_media'),
    ]
