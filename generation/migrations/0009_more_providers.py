"""Routes through Runway and Replicate. They are offered where there is a key for their provider.

Costs as of November 2026, to be checked against the providers' own lists before they are offered:
Runway takes $0.01 a credit, 12 credits a second of Gen-4.5 and 20 of Veo 3.1 without sound;
Replicate's fast Wan 2.2 is a fixed $0.10 a clip. What we ask is our own.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"
VEO, VEO_FROM_PICTURE, GEN, WAN = 0x01, 0x02, 0x07, 0x08

PROMPT_TEXT = {"prompt": {"name": "promptText"}}
IMAGE = {"image_url": {"name": "promptImage"}}
# Runway's adapter makes its `ratio` of the latter two.
SHAPE = {name: {"name": name} for name in ("duration", "aspect_ratio", "resolution")}


def one_of(*allowed):
    return {"allowed": list(allowed), "default": allowed[0]}


MODELS = [
    # number, name, category, description, pricing, base, settings
    (
        GEN, "Gen-4.5", "cinematic", "Runway's own model: motion and camera work as you describe it.",
        "duration", "0.80",
        {
            "duration": one_of(5, 8, 10),
            "resolution": one_of("720p"),
            "aspect_ratio": one_of("16:9", "9:16"),
        },
    ),
    (
        WAN, "Wan 2.2", "playful", "Short clips at a small price, from an open model.",
        "fixed", "0.40",
        {"resolution": one_of("480p", "720p"), "aspect_ratio": one_of("16:9", "9:16")},
    ),
]  # fmt: skip

ROUTES = [
    # number, model, provider, its id, position, cost, unit, parameters, constants
    (0x51, VEO, "runway", "veo3.1", 2, "0.20", "second", {**PROMPT_TEXT, **SHAPE}, {"audio": False}),
    (0x52, VEO_FROM_PICTURE, "runway", "veo3.1", 2, "0.20", "second",
     {**PROMPT_TEXT, **IMAGE, **SHAPE}, {"audio": False}),
    (0x57, GEN, "runway", "gen4.5", 1, "0.12", "second", {**PROMPT_TEXT, **SHAPE}, {}),
    (0x58, WAN, "replicate", "wan-video/wan-2.2-t2v-fast", 1, "0.10", "piece",
     {"prompt": {"name": "prompt"}, "resolution": {"name": "resolution"},
      "aspect_ratio": {"name": "aspect_ratio"}}, {}),
]  # fmt: skip


def load(apps, schema_editor):
    Model = apps.get_model("generation", "Model")
    Route = apps.get_model("generation", "Route")
    for number, name, category, description, pricing, base, settings in MODELS:
        Model.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            category=category,
            kind="text-to-video",
            description=description,
            pricing_type=pricing,
            base_price_usd=Decimal(base),
            settings=settings,
        )
    for number, model, provider, its_id, position, cost, unit, parameters, constants in ROUTES:
        model_id = UUID(NAMESPACE.format(model))
        taken = Route.objects.filter(model_id=model_id, position=position).exists()
        # What staff has changed meanwhile stays as they have it.
        if taken or not Model.objects.filter(id=model_id).exists():
            continue
        Route.objects.create(
            id=UUID(NAMESPACE.format(number)),
            model_id=model_id,
            provider=provider,
            provider_model_id=its_id,
            position=position,
            cost_usd=Decimal(cost),
            cost_unit=unit,
            parameters=parameters,
            constants=constants,
        )


class Migration(migrations.Migration):
    dependencies = [("generation", "0008_uploads")]

    # Taken back, the rows stay: jobs may name them.
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
