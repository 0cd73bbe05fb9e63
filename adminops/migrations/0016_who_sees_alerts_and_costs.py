from django.db import migrations

from adminops.auth import roles


class Migration(migrations.Migration):

    dependencies = [
        ('adminops', '0015_counted_days'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('generation', '0016_delivery_last'),
    ]

    operations = [migrations.RunPython(roles.sync_groups, migrations.RunPython.noop)]
