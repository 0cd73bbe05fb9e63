import django.db.models.deletion
from django.db import migrations, models


def make_the_row(apps, schema_editor):
    apps.get_model('accounts', 'WelcomeTurn').objects.create()


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0014_person_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='welcomeclaim',
            name='device_token_encrypted',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='welcomeclaim',
            name='due_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='welcomeclaim',
            name='is_user_waiting',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='welcomeclaim',
            name='tries',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='welcomeclaim',
            name='won_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name='WelcomeTurn',
            fields=[
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('number', models.BigIntegerField(default=0)),
                ('leased_until', models.DateTimeField(null=True)),
                ('claim', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.welcomeclaim')),
            ],
            options={
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('id', 1)), name='accounts_turn_one_row'),
                    models.CheckConstraint(condition=models.Q(('claim__isnull', False), ('leased_until__isnull', True), _connector='OR'), name='accounts_turn_is_leased_for_a_claim'),
                ],
            },
        ),
        migrations.RunPython(make_the_row, migrations.RunPython.noop),
    ]
