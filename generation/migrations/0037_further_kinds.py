import django.db.models.deletion
from django.db import migrations, models

from rendio.common import sql_functions


class Migration(migrations.Migration):
    """A second source image: the mask, or the last keyframe."""

    dependencies = [
        ('generation', '0036_validate_images_of_a_job'),
    ]

    operations = [
        migrations.AddField(
            model_name='upload',
            name='mask_of',
            field=models.UUIDField(blank=True, help_text='The image that this is a mask of: a PNG, white where the image may change.', null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='second_upload',
            field=models.ForeignKey(blank=True, db_index=False, help_text='The mask, or the last keyframe.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='second_jobs', to='generation.upload'),
        ),
        migrations.AlterField(
            model_name='generationmodel',
            name='kind',
            field=models.CharField(choices=[('text-to-video', 'Text to video'), ('image-to-video', 'Image to video'), ('keyframes-to-video', 'Keyframes to video'), ('text-to-image', 'Text to image'), ('image-edit', 'Image edit'), ('inpaint', 'Inpaint'), ('upscale', 'Upscale')], max_length=20),
        ),
        migrations.AlterField(
            model_name='providerroute',
            name='parameters',
            field=models.JSONField(help_text='The provider\'s names of our settings, such as {"prompt": {}, "duration": {"name": "duration", "format": "{}s"}, "aspect_ratio": {"name": "image_size", "values": {"1:1": "square_hd"}}, "image_url": {"name": "image_urls", "list": true}}'),
        ),
        # Beside the function of the release before, which has a parameter less.
        migrations.RunSQL(
            sql_functions.read('generation', 'generation_create_job'), migrations.RunSQL.noop
        ),
    ]
