"""Image models. Costs as of November 2026: fal-ai/nano-banana-pro by fal's own page. Those of the
others are third parties' figures, to be checked against fal's price list before they are offered.

fal bills megapixels, rounded up: 1024 x 1024 pixels are two.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"

RATIOS = ["1:1", "4:3", "3:4", "16:9", "9:16"]
SETTINGS = {
    "aspect_ratio": {"allowed": RATIOS, "default": "1:1"},
    "num_outputs": {"allowed": [1, 2, 3, 4], "default": 1},
    "seed": {"minimum": 0, "maximum": 2147483647},
}
NEGATIVE_PROMPT = {"negative_prompt": {"max_length": 500}}
RESOLUTION = {"resolution": {"allowed": ["1K", "2K", "4K"], "default": "1K"}}
NANO_FACTORS = {"resolution": {"4K": "2"}}
MEGAPIXELS = {"aspect_ratio": {"1:1": "2"}}

COMMON = {
    "prompt": {"name": "prompt"},
    "num_outputs": {"name": "num_images"},
    "seed": {"name": "seed"},
}
SIZE = {
    "aspect_ratio": {
        "name": "image_size",
        "values": {
            "1:1": {"width": 1024, "height": 1024},
            "4:3": {"width": 1024, "height": 768},
            "3:4": {"width": 768, "height": 1024},
            "16:9": {"width": 1280, "height": 720},
            "9:16": {"width": 720, "height": 1280},
        },
    }
}
RATIO = {"aspect_ratio": {"name": "aspect_ratio"}, "resolution": {"name": "resolution"}}
JPEG = {"output_format": "jpeg"}

MODELS = [
    # number, name, tier, description, pricing, base, multipliers, settings,
    # (provider's id, cost, cost multipliers, parameters, constants)
    (
        0x10, "FLUX.1 schnell", "basic", "Images within seconds, for drafts and ideas.",
        "fixed", "0.10", {}, SETTINGS,
        ("fal-ai/flux/schnell", "0.003", MEGAPIXELS, {**COMMON, **SIZE},
         {**JPEG, "num_inference_steps": 4}),
    ),
    (
        0x11, "FLUX.2", "standard", "Detailed images that follow the prompt closely.",
        "fixed", "0.20", {}, SETTINGS,
        ("fal-ai/flux-2", "0.012", MEGAPIXELS, {**COMMON, **SIZE},
         {**JPEG, "num_inference_steps": 28}),
    ),
    (
        0x12, "Nano Banana Pro", "high", "Google's image model: legible text, up to 4K.",
        "variable", "0.40", NANO_FACTORS, {**SETTINGS, **RESOLUTION},
        ("fal-ai/nano-banana-pro", "0.15", NANO_FACTORS, {**COMMON, **RATIO}, JPEG),
    ),
    (
        0x13, "Qwen Image", "standard", "Images with a list of what they should not show.",
        "fixed", "0.20", {}, {**SETTINGS, **NEGATIVE_PROMPT},
        ("fal-ai/qwen-image-2512", "0.02", MEGAPIXELS,
         {**COMMON, **SIZE, "negative_prompt": {"name": "negative_prompt"}},
         {**JPEG, "num_inference_steps": 28}),
    ),
]  # fmt: skip


def load(apps, schema_editor):
    Model = apps.get_model("generation", "GenerationModel")
    Route = apps.get_model("generation", "ProviderRoute")
    for number, name, tier, description, pricing, base, multipliers, settings, route in MODELS:
        if Model.objects.filter(name=name).exists():
            continue  # staff has made a model of this name
        model = Model.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            category="images",
            kind="text-to-image",
            tier=tier,
            description=description,
            pricing_type=pricing,
            base_price_usd=Decimal(base),
            multipliers=multipliers,
            settings=settings,
        )
        provider_model_id, cost, cost_multipliers, parameters, constants = route
        Route.objects.create(
            id=UUID(NAMESPACE.format(0x50 + number)),
            model=model,
            provider="fal",
            provider_model_id=provider_model_id,
            cost_usd=Decimal(cost),
            cost_unit="piece",
            cost_multipliers=cost_multipliers,
            parameters=parameters,
            constants=constants,
        )


class Migration(migrations.Migration):
    dependencies = [("generation", "0032_tiers")]

    # Taken back, the rows stay: jobs may name them.
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
