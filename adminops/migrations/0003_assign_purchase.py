from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('adminops', '0002_record_append_only'),
    ]

    operations = [
        migrations.AlterField(
            model_name='adminaction',
            name='action',
            field=models.CharField(choices=[('refund_credits', 'Refund Credits'), ('adjust_credits', 'Adjust Credits'), ('ban_user', 'Ban User'), ('unban_user', 'Unban User'), ('toggle_model', 'Toggle Model'), ('assign_purchase', 'Assign Purchase')], max_length=20),
        ),
        migrations.AlterField(
            model_name='adminaction',
            name='subject_type',
            field=models.CharField(choices=[('user', 'User'), ('model', 'Model'), ('purchase', 'Purchase')], max_length=10),
        ),
    ]
