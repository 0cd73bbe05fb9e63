"""Wan 2.2 on our own workers, at RunPod and then at Modal, and Pika 2.2 from a picture at fal. Each is
offered where there is a key for one of its providers.

Costs as of November 2026: about 130 seconds of an H100 ($0.00116 at RunPod, $0.001097 at Modal) for
five seconds of video, an estimate until the workers report theirs; Pika $0.20 a clip (720p), $0.45
(1080p). What we ask is our own.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"
WAN, PIKA = 0x30, 0x31


def one_of(*allowed):
    return {"allowed": list(allowed), "default": allowed[0]}


def named(*names):
    return {name: {"name": name} for name in names}


PIKA_RESOLUTIONS = ("720p", "1080p")
MODELS = [
    # number, name, description, kind, pricing, base, multipliers, settings
    (
        WAN, "Wan 2.2 5B", "Five-second clips from an open model, made on our own machines.",
        "text-to-video", "fixed", "0.40", {},
        {"resolution": one_of("720p"), "aspect_ratio": one_of("16:9", "9:16")},
    ),
    (
        PIKA, "Pika 2.2 from a picture", "Five playful seconds that start from a picture of yours.",
        "image-to-video", "variable", "0.45", {"resolution": {"720p": "1", "1080p": "2"}},
        {"duration": one_of(5), "resolution": one_of(*PIKA_RESOLUTIONS)},
    ),
]  # fmt: skip
ROUTES = [
    # number, model, provider, its id, position, cost, cost multipliers, parameters
    (0x70, WAN, "runpod", "wan-2.2", 1, "0.15", {}, named("prompt", "resolution", "aspect_ratio")),
    (0x71, WAN, "modal", "wan-2.2", 2, "0.15", {}, named("prompt", "resolution", "aspect_ratio")),
    (0x72, PIKA, "fal", "fal-ai/pika/v2.2/image-to-video", 1, "0.20",
     {"resolution": {"720p": "1", "1080p": "2.25"}},
     {**named("prompt", "image_url", "resolution"),
      "duration": {"name": "duration", "format": "{}"}}),
]  # fmt: skip


def load(apps, schema_editor):
    GenerationModel = apps.get_model("generation", "GenerationModel")
    ProviderRoute = apps.get_model("generation", "ProviderRoute")
    for number, name, description, kind, pricing, base, multipliers, settings in MODELS:
        GenerationModel.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            category="playful",
            kind=kind,
            description=description,
            pricing_type=pricing,
            base_price_usd=Decimal(base),
            multipliers=multipliers,
            settings=settings,
        )
    for number, model, provider, its_id, position, cost, cost_multipliers, parameters in ROUTES:
        ProviderRoute.objects.create(
            id=UUID(NAMESPACE.format(number)),
            model_id=UUID(NAMESPACE.format(model)),
            provider=provider,
            provider_model_id=its_id,
            position=position,
            cost_usd=Decimal(cost),
            cost_unit="piece",
            cost_multipliers=cost_multipliers,
            parameters=parameters,
            constants={},
        )


class Migration(migrations.Migration):
    dependencies = [("generation", "0030_create_job")]

    # Taken back, the rows stay: jobs may name them.
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
