"""The first catalogue: models, routes and themes. From here on it is edited in the admin.

Prices of the providers as of November 2026: Sora 2 $0.10 a second, Sora 2 Pro $0.30 (720p) and $0.50
(1080p), Veo 3.1 without sound $0.20 (fal.ai model pages); what we ask is our own.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"

PROMPT = {"prompt": {"name": "prompt"}}
IMAGE = {"image_url": {"name": "image_url"}}
NUMBER = {"duration": {"name": "duration"}}
SECONDS = {"duration": {"name": "duration", "format": "{}s"}}
TEXT = {"duration": {"name": "duration", "format": "{}"}}
FRAME = {"resolution": {"name": "resolution"}, "aspect_ratio": {"name": "aspect_ratio"}}


def one_of(*allowed, default=None):
    return {"allowed": list(allowed), "default": default if default is not None else allowed[0]}


SORA = {
    "duration": one_of(4, 8, 12),
    "resolution": one_of("720p"),
    "aspect_ratio": one_of("16:9", "9:16"),
}
SORA_PRO = {**SORA, "resolution": one_of("720p", "1080p")}
VEO = {
    "duration": one_of(4, 6, 8),
    "resolution": one_of("720p", "1080p"),
    "aspect_ratio": one_of("16:9", "9:16"),
}
PIKA = {
    "duration": one_of(5),
    "resolution": one_of("720p"),
    "aspect_ratio": one_of("16:9", "9:16", "1:1"),
}
BY_SECONDS = {"4": "1", "8": "2", "12": "3"}

MODELS = [
    # number, name, category, kind, description, featured, default, pricing, base, multipliers,
    # settings, (provider's id, cost, unit, parameters, constants)
    (
        0x01, "Veo 3.1", "cinematic", "text-to-video",
        "Google's video model: lifelike motion and light, without sound.",
        True, True, "duration", "1.00", {}, VEO,
        ("fal-ai/veo3.1", "0.20", "second", {**PROMPT, **SECONDS, **FRAME},
         {"generate_audio": False}),
    ),
    (
        0x02, "Veo 3.1 from a picture", "cinematic", "image-to-video",
        "Brings a picture of yours to life with Veo 3.1, without sound.",
        False, False, "duration", "1.00", {}, VEO,
        ("fal-ai/veo3.1/image-to-video", "0.20", "second", {**PROMPT, **IMAGE, **SECONDS, **FRAME},
         {"generate_audio": False}),
    ),
    (
        0x03, "Sora 2", "storytelling", "text-to-video",
        "OpenAI's video model: scenes that follow the story you write, with sound.",
        True, False, "duration", "0.40", {}, SORA,
        ("fal-ai/sora-2/text-to-video", "0.10", "second", {**PROMPT, **NUMBER, **FRAME},
         {"delete_video": True}),
    ),
    (
        0x04, "Sora 2 from a picture", "storytelling", "image-to-video",
        "Starts from a picture of yours and goes on as you write.",
        False, False, "duration", "0.40", {}, SORA,
        ("fal-ai/sora-2/image-to-video", "0.10", "second", {**PROMPT, **IMAGE, **NUMBER, **FRAME},
         {"delete_video": True}),
    ),
    (
        0x05, "Sora 2 Pro", "storytelling", "text-to-video",
        "Sora 2 with more detail, up to 1080p.",
        False, False, "variable", "1.80",
        {"duration": BY_SECONDS, "resolution": {"720p": "1", "1080p": "1.5"}}, SORA_PRO,
        ("fal-ai/sora-2/text-to-video/pro", "0.30", "second", {**PROMPT, **NUMBER, **FRAME},
         {"delete_video": True}),
    ),
    (
        0x06, "Pika 2.2", "playful", "text-to-video",
        "Quick five-second clips for any idea.",
        False, False, "fixed", "0.45", {}, PIKA,
        ("fal-ai/pika/v2.2/text-to-video", "0.20", "piece", {**PROMPT, **TEXT, **FRAME}, {}),
    ),
]  # fmt: skip

COST_MULTIPLIERS = {0x05: {"resolution": {"720p": "1", "1080p": "1.6667"}}}

THEMES = [
    ("Neon Rain", "A city at night after the rain.", "city",
     "A slow walk through a neon-lit street after the rain, reflections on wet asphalt", 0x03),
    ("Golden Hour", "The last warm light of the day.", "nature",
     "Tall grass moving in the wind at golden hour, warm backlight, shallow depth of field", 0x01),
    ("Deep Sea", "Down where the light ends.", "nature",
     "A glowing jellyfish drifting through dark blue water, particles in the light", 0x01),
    ("Paper World", "Everything folded from paper.", "playful",
     "A tiny paper boat sails across a paper sea, stop-motion look, soft shadows", 0x03),
    ("Space Postcard", "Greetings from far away.", "space",
     "An astronaut waves in front of a giant ringed planet, cinematic wide shot", 0x03),
    ("Cosy Kitchen", "Steam, butter, morning.", "food",
     "Fresh pancakes stacked on a plate, syrup pouring in slow motion, morning light", 0x03),
    ("Old Film", "As if from a century ago.", "style",
     "Silent film of a street market in 1920, black and white, film grain, flicker", 0x03),
    ("Dragon Flight", "Above the clouds.", "fantasy",
     "A dragon glides over snowy mountains at sunrise, camera follows from behind", 0x01),
    ("Tiny Town", "The world as a model.", "playful",
     "Tilt-shift view of a busy harbour town that looks like a miniature", 0x06),
    ("Dancing Fruit", "Breakfast has fun.", "playful",
     "Cartoon fruit dancing on a kitchen table, bright colours, bouncy motion", 0x06),
    ("Northern Lights", "A sky that moves.", "nature",
     "Green aurora over a frozen lake, time-lapse, stars turning", 0x01),
    ("Robot Gardener", "Patience and petals.", "story",
     "A small rusty robot waters a single flower on a rooftop at dawn", 0x03),
]  # fmt: skip


def load(apps, schema_editor):
    Model = apps.get_model("generation", "Model")
    Route = apps.get_model("generation", "Route")
    Theme = apps.get_model("generation", "Theme")
    for (number, name, category, kind, description, featured, default, pricing, base,
         multipliers, settings, route) in MODELS:  # fmt: skip
        model = Model.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            category=category,
            kind=kind,
            description=description,
            is_featured=featured,
            is_default=default,
            pricing_type=pricing,
            base_price_usd=Decimal(base),
            multipliers=multipliers,
            settings=settings,
        )
        provider_model_id, cost, unit, parameters, constants = route
        Route.objects.create(
            id=UUID(NAMESPACE.format(0x40 + number)),
            model=model,
            provider="fal",
            provider_model_id=provider_model_id,
            cost_multipliers=COST_MULTIPLIERS.get(number, {}),
            cost_usd=Decimal(cost),
            cost_unit=unit,
            parameters=parameters,
            constants=constants,
        )
    for number, (name, description, category, prompt, model_number) in enumerate(THEMES, 0x80):
        Theme.objects.create(
            id=UUID(NAMESPACE.format(number)),
            name=name,
            description=description,
            category=category,
            default_prompt=prompt,
            default_settings={},
            model_id=UUID(NAMESPACE.format(model_number)),
        )


class Migration(migrations.Migration):
    dependencies = [("generation", "0001_initial")]

    # Taken back, the rows stay until 0001 takes their tables.
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
