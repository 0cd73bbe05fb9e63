import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import rendio.common.ids
from rendio.common import sql_functions


class Migration(migrations.Migration):
    """Trainings and trained models. A completed training has no media: the new condition is the
    weaker one, and the release before keeps to both."""

    dependencies = [
        ('credits', '0014_balance'),
        ('generation', '0039_edits_and_keyframes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ProviderModelDeletion',
            fields=[
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0, verbose_name='attempts')),
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(max_length=20)),
                ('key_label', models.CharField(blank=True, db_default='', default='', max_length=30)),
                ('provider_model', models.CharField(max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name='TrainedModel',
            fields=[
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('kind', models.CharField(choices=[('person', 'Person'), ('style', 'Style'), ('object', 'Object')], max_length=10)),
                ('trigger_word', models.CharField(help_text='The word in prompts that stands for what was learned.', max_length=30)),
                ('base_family', models.CharField(blank=True, db_default='', default='', help_text='The base models that can load the weights.', max_length=40)),
                ('weights_name', models.CharField(blank=True, db_default='', default='', max_length=100)),
                ('weights_size_bytes', models.PositiveBigIntegerField(db_default=0, default=0)),
                ('provider', models.CharField(blank=True, db_default='', default='', max_length=20)),
                ('provider_model', models.CharField(blank=True, db_default='', default='', help_text="The provider's name of its copy, such as owner/name.", max_length=200)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='TrainingConsent',
            fields=[
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False, verbose_name='ID')),
                ('given_at', models.DateTimeField()),
                ('text_version', models.CharField(max_length=20)),
                ('language', models.CharField(max_length=10)),
                ('subject_name', models.CharField(blank=True, db_default='', default='', max_length=60)),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='TrainingPicture',
            fields=[
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField(help_text='Order of upload, from 1.')),
                ('file_name', models.CharField(blank=True, db_default='', default='', help_text='As the phone named it.', max_length=120)),
                ('width', models.PositiveIntegerField()),
                ('height', models.PositiveIntegerField()),
                ('size_bytes', models.PositiveIntegerField()),
                ('checks', models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict, help_text='Measurements: sharpness, mean luminance, clipped share, hash, faces.')),
                ('problems', models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list, help_text='Names of problems. Empty: usable.')),
            ],
        ),
        migrations.CreateModel(
            name='TrainingSet',
            fields=[
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField(help_text='New trainings can use the images until then.')),
                ('remove_at', models.DateTimeField(blank=True, help_text='Next check for deletion. Empty while a training needs it.', null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='job',
            name='job_completed_has_media',
        ),
        migrations.AddField(
            model_name='job',
            name='is_training',
            field=models.BooleanField(db_default=False, default=False, help_text='The result is the weights of a trained model, not media.', verbose_name='training'),
        ),
        migrations.AddField(
            model_name='providerroute',
            name='training',
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict, help_text='What the route needs or makes as a trainer: {"min_pictures": 10, "captions": true, "base_family": "flux-1-dev"}; of an image model, the trained models that it loads: {"base_families": ["flux-1-dev"]}'),
        ),
        migrations.AlterField(
            model_name='generationmodel',
            name='kind',
            field=models.CharField(choices=[('text-to-video', 'Text to video'), ('image-to-video', 'Image to video'), ('keyframes-to-video', 'Keyframes to video'), ('text-to-image', 'Text to image'), ('image-edit', 'Image edit'), ('inpaint', 'Inpaint'), ('upscale', 'Upscale'), ('training', 'Training')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='providermodeldeletion',
            index=models.Index(fields=['due_at'], name='provider_model_deletion_due'),
        ),
        migrations.AddField(
            model_name='trainedmodel',
            name='job',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='training', to='generation.job'),
        ),
        migrations.AddField(
            model_name='trainedmodel',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='trained_models', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='job',
            name='trained_model',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, help_text='The trained model that the images are made with.', null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='jobs', to='generation.trainedmodel'),
        ),
        AddConstraintNotValid(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'completed'), _negated=True), models.Q(('media_name', ''), _negated=True), ('is_training', True), ('deleted_at__isnull', False), _connector='OR'), name='job_completed_has_media'),
        ),
        migrations.AddField(
            model_name='trainingconsent',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_consents', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='trainedmodel',
            name='consent',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='trained_models', to='generation.trainingconsent'),
        ),
        migrations.AddField(
            model_name='trainingset',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_sets', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='trainingpicture',
            name='set',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pictures', to='generation.trainingset'),
        ),
        migrations.AddField(
            model_name='trainedmodel',
            name='training_set',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='trained_models', to='generation.trainingset'),
        ),
        migrations.AddIndex(
            model_name='trainingset',
            index=models.Index(condition=models.Q(('remove_at__isnull', False)), fields=['remove_at'], name='training_set_to_be_removed'),
        ),
        migrations.AddConstraint(
            model_name='trainingpicture',
            constraint=models.UniqueConstraint(fields=('set', 'position'), name='training_picture_one_per_position'),
        ),
        migrations.AddIndex(
            model_name='trainedmodel',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['user', '-id'], name='trained_model_by_user'),
        ),
        # Beside the function of the release before, which has two parameters less.
        migrations.RunSQL(
            sql_functions.read('generation', 'generation_create_job'), migrations.RunSQL.noop
        ),
    ]
