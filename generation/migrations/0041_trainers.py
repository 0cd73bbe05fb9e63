"""Trainers, and an image model that loads what was trained.

All costs are third parties' figures of November 2026, to be checked against the providers' price
lists before the models are offered: at fal a price for each step, at Replicate a price for each
training of about 1000 steps, which is booked for 600 here. FLUX.1 with trained weights is billed by
the megapixel, rounded up: 1024 x 1024 pixels are two. Durations are third parties' as well (2 to 15
minutes for 1000 steps at fal, 11 at Replicate), and only shown until there are our own. The version of Replicate's trainer is one that was in use
in 2025. Trained models of FLUX.1 [dev] carry its non-commercial licence, and may be used at hosts
that have a licence of their own.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations, models

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"

PARAMETERS_HELP = (
    'The provider\'s names of our settings, such as {"prompt": {}, "duration": {"name": "duration", '
    '"format": "{}s"}, "aspect_ratio": {"name": "image_size", "values": {"1:1": "square_hd"}}, '
    '"image_url": {"name": "image_urls", "list": true}, "weights_url": {"name": "loras", "object": '
    '{"path": "{}", "scale": 1}, "list": true}}'
)
FLUX_1 = "flux-1-dev"
RUN_DEADLINE_SECONDS = 2700
STEPS = {"steps": {"allowed": [600, 1200, 2000], "default": 1200}}
BY_STEPS = {"steps": {"600": "1", "1200": "2", "2000": "3.3333"}}


def named(**names):
    return {ours: {"name": theirs} for ours, theirs in names.items()}


FAST = (
    "fal", "fal-ai/flux-lora-fast-training", "1.20", 0.5,
    named(images_zip_url="images_data_url", trigger_word="trigger_word", steps="steps"),
)  # fmt: skip
PORTRAIT = (
    "fal", "fal-ai/flux-lora-portrait-trainer", "1.44", 0.5,
    named(images_zip_url="images_data_url", trigger_word="trigger_phrase", steps="steps"),
)  # fmt: skip
REPLICATE = (
    "replicate",
    "ostris/flux-dev-lora-trainer/versions/"
    "e440909d3512c31646ee2e0c7d6f6f4923224863a6a10c494606e79fb5844497/trainings",
    "1.04", 0.66,
    {
        **named(
            images_zip_url="input_images", trigger_word="trigger_word", steps="steps",
            destination="destination",
        ),
        "default_caption": {"name": "autocaption_prefix", "format": "{}, "},
    },
)  # fmt: skip

TRAINERS = [
    # number, name, category (what the images show), description, base price, fewest images,
    # (route, constants) first choice first
    (
        0x18, "Person trainer", "person", "Learns the face of one person from 10 to 40 images.",
        "3.00", 10, [(PORTRAIT, {"subject_crop": True}), (REPLICATE, {})],
    ),
    (
        0x19, "Style trainer", "style", "Learns a style from 4 to 40 images.",
        "2.50", 4, [(FAST, {"is_style": True}), (REPLICATE, {})],
    ),
    (
        0x1A, "Object trainer", "object", "Learns an object from 4 to 40 images.",
        "2.50", 4, [(FAST, {"is_style": False}), (REPLICATE, {})],
    ),
]  # fmt: skip

RATIOS = ["1:1", "4:3", "3:4", "16:9", "9:16"]
IMAGE_SETTINGS = {
    "aspect_ratio": {"allowed": RATIOS, "default": "1:1"},
    "num_outputs": {"allowed": [1, 2, 3, 4], "default": 1},
    "seed": {"minimum": 0, "maximum": 2147483647},
}
IMAGE_PARAMETERS = {
    **named(prompt="prompt", num_outputs="num_images", seed="seed"),
    "aspect_ratio": {
        "name": "image_size",
        "values": {
            "1:1": {"width": 1024, "height": 1024},
            "4:3": {"width": 1024, "height": 768},
            "3:4": {"width": 768, "height": 1024},
            "16:9": {"width": 1280, "height": 720},
            "9:16": {"width": 720, "height": 1280},
        },
    },
    "weights_url": {"name": "loras", "object": {"path": "{}", "scale": 1}, "list": True},
}


def load(apps, schema_editor):
    Model = apps.get_model("generation", "GenerationModel")
    Route = apps.get_model("generation", "ProviderRoute")
    for number, name, category, description, base, fewest, routes in TRAINERS:
        if Model.objects.filter(name=name).exists():
            continue  # staff has made a model of this name
        model = Model.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            category=category,
            kind="training",
            description=description,
            pricing_type="variable",
            base_price_usd=Decimal(base),
            multipliers=BY_STEPS,
            settings=STEPS,
            run_deadline_seconds=RUN_DEADLINE_SECONDS,
        )
        for position, (route, constants) in enumerate(routes, start=1):
            provider, provider_model_id, cost, seconds_per_step, parameters = route
            Route.objects.create(
                id=UUID(NAMESPACE.format(0x50 + number + 0x10 * (position - 1))),
                model=model,
                provider=provider,
                provider_model_id=provider_model_id,
                position=position,
                cost_usd=Decimal(cost),
                cost_unit="piece",
                cost_multipliers=BY_STEPS,
                parameters=parameters,
                constants=constants,
                training={
                    "base_family": FLUX_1,
                    "min_pictures": fewest,
                    "seconds_per_step": seconds_per_step,
                },
            )
    if not Model.objects.filter(name="FLUX.1 dev").exists():
        model = Model.objects.create(
            id=UUID(NAMESPACE.format(0x1B)),
            name="FLUX.1 dev",
            category="images",
            kind="text-to-image",
            description="Images with a model that you have trained.",
            pricing_type="fixed",
            base_price_usd=Decimal("0.20"),
            multipliers={},
            settings=IMAGE_SETTINGS,
        )
        Route.objects.create(
            id=UUID(NAMESPACE.format(0x6B)),
            model=model,
            provider="fal",
            provider_model_id="fal-ai/flux-lora",
            cost_usd=Decimal("0.035"),
            cost_unit="piece",
            cost_multipliers={"aspect_ratio": {"1:1": "2"}},
            parameters=IMAGE_PARAMETERS,
            constants={"output_format": "jpeg", "num_inference_steps": 28},
            training={"base_families": [FLUX_1]},
        )


class Migration(migrations.Migration):
    dependencies = [("generation", "0044_spend_counted_hourly")]

    # Taken back, the rows stay: jobs may name them.
    operations = [
        migrations.AlterField(
            model_name="providerroute",
            name="parameters",
            field=models.JSONField(help_text=PARAMETERS_HELP),
        ),
        migrations.RunPython(load, migrations.RunPython.noop),
    ]
