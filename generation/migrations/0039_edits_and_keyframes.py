"""Models that edit, fill and enlarge images, and make videos between two images.

Costs as of November 2026: fal-ai/flux-pro/kontext by fal's own page. Those of the others are third
parties' figures, the highest that may apply, to be checked against fal's price list before they are
offered. SeedVR is asked for a fixed size, so that its cost does not follow the customer's image.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"


def one_of(*allowed):
    return {"allowed": list(allowed), "default": allowed[0]}


def named(**names):
    return {ours: {"name": theirs} for ours, theirs in names.items()}


OUTPUTS = {"num_outputs": one_of(1, 2, 3, 4), "seed": {"minimum": 0, "maximum": 2147483647}}
COMMON = named(
    prompt="prompt", image_url="image_url", num_outputs="num_images", seed="seed"
)
RATIOS = ("auto", "1:1", "4:3", "3:4", "16:9", "9:16")
SIZES = {"1080p": "1", "1440p": "2", "2160p": "3"}

MODELS = [
    # number, name, category, kind, tier, description, pricing, base, multipliers, settings,
    # (provider's id, cost, unit, cost multipliers, parameters, constants)
    (
        0x14, "Kontext", "images", "image-edit", "standard",
        "Changes an image as you describe it.",
        "fixed", "0.20", {}, {"aspect_ratio": one_of(*RATIOS), **OUTPUTS},
        ("fal-ai/flux-pro/kontext", "0.04", "piece", {},
         # Without a ratio the result has the image's.
         {**COMMON, "aspect_ratio": {"name": "aspect_ratio", "values": {"auto": None}}},
         {"output_format": "jpeg"}),
    ),
    (
        0x15, "FLUX Fill", "images", "inpaint", "standard",
        "Fills the marked part of an image as you describe it.",
        "fixed", "0.30", {}, OUTPUTS,
        ("fal-ai/flux-pro/v1/fill", "0.10", "piece", {}, {**COMMON, **named(mask_url="mask_url")},
         {"output_format": "jpeg"}),
    ),
    (
        0x16, "SeedVR", "images", "upscale", "standard",
        "Enlarges an image and restores its details.",
        "variable", "0.10", {"resolution": SIZES}, {"resolution": one_of(*SIZES)},
        ("fal-ai/seedvr/upscale/image", "0.01", "piece", {},
         named(image_url="image_url", resolution="target_resolution"),
         {"upscale_mode": "target"}),
    ),
    (
        0x17, "Veo 3.1 between two pictures", "cinematic", "keyframes-to-video", "",
        "Moves from your first picture to your last, without sound.",
        "duration", "1.00", {},
        {
            "duration": one_of(4, 6, 8),
            "resolution": one_of("720p", "1080p"),
        },
        ("fal-ai/veo3.1/first-last-frame-to-video", "0.20", "second", {},
         {
             **named(prompt="prompt", image_url="first_frame_url", last_image_url="last_frame_url",
                     resolution="resolution"),
             "duration": {"name": "duration", "format": "{}s"},
         },
         {"generate_audio": False}),
    ),
]  # fmt: skip


def load(apps, schema_editor):
    Model = apps.get_model("generation", "GenerationModel")
    Route = apps.get_model("generation", "ProviderRoute")
    for (number, name, category, kind, tier, description, pricing, base, multipliers, settings,
         route) in MODELS:  # fmt: skip
        if Model.objects.filter(name=name).exists():
            continue  # staff has made a model of this name
        model = Model.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            category=category,
            kind=kind,
            tier=tier,
            description=description,
            pricing_type=pricing,
            base_price_usd=Decimal(base),
            multipliers=multipliers,
            settings=settings,
        )
        provider_model_id, cost, unit, cost_multipliers, parameters, constants = route
        Route.objects.create(
            id=UUID(NAMESPACE.format(0x50 + number)),
            model=model,
            provider="fal",
            provider_model_id=provider_model_id,
            cost_usd=Decimal(cost),
            cost_unit=unit,
            cost_multipliers=cost_multipliers,
            parameters=parameters,
            constants=constants,
        )


class Migration(migrations.Migration):
    dependencies = [("generation", "0038_job_by_second_upload")]

    # Taken back, the rows stay: jobs may name them.
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
