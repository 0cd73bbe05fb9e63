from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The index is built beside the running service, not under a lock.
    atomic = False

    dependencies = [
        ('accounts', '0018_turns_of_bans'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='language_changed_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='When the user last chose a language.', null=True),
        ),
        AddIndexConcurrently(
            model_name='user',
            index=models.Index('language_changed_at', condition=models.Q(('language_changed_at__isnull', False)), name='accounts_user_language'),
        ),
    ]
