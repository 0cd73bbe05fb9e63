"""An image model for edits in the tier basic. Its cost is by fal's own page (November 2026): 0.011
dollars for each megapixel of the result and of the image, which it makes smaller to one megapixel.
fal rounds megapixels up: 1024 x 1024 pixels are two.
"""

from decimal import Decimal
from uuid import UUID

from django.db import migrations

NAMESPACE = "00000000-0000-4000-8000-0000000000{:02x}"
NUMBER = 0x1C
SIZES = {
    "1:1": {"width": 1024, "height": 1024},
    "4:3": {"width": 1024, "height": 768},
    "3:4": {"width": 768, "height": 1024},
    "16:9": {"width": 1280, "height": 720},
    "9:16": {"width": 720, "height": 1280},
}


def load(apps, schema_editor):
    Model = apps.get_model("generation", "GenerationModel")
    Route = apps.get_model("generation", "ProviderRoute")
    if Model.objects.filter(name="FLUX.2 klein edit").exists():
        return  # staff has made a model of this name
    model = Model.objects.create(
        id=UUID(NAMESPACE.format(NUMBER)),
        name="FLUX.2 klein edit",
        category="images",
        kind="image-edit",
        tier="basic",
        description="Changes an image as you describe it, within seconds.",
        pricing_type="fixed",
        base_price_usd=Decimal("0.10"),
        settings={
            "aspect_ratio": {"allowed": list(SIZES), "default": "1:1"},
            "num_outputs": {"allowed": [1, 2, 3, 4], "default": 1},
            "seed": {"minimum": 0, "maximum": 2147483647},
        },
    )
    Route.objects.create(
        id=UUID(NAMESPACE.format(0x50 + NUMBER)),
        model=model,
        provider="fal",
        provider_model_id="fal-ai/flux-2/klein/9b/edit",
        cost_usd=Decimal("0.011"),
        cost_unit="piece",
        cost_multipliers={"aspect_ratio": {"1:1": "2"}},
        input_cost_usd=Decimal("0.011"),
        max_input_megapixels=1,
        parameters={
            "prompt": {"name": "prompt"},
            "image_url": {"name": "image_urls", "list": True},
            "aspect_ratio": {"name": "image_size", "values": SIZES},
            "num_outputs": {"name": "num_images"},
            "seed": {"name": "seed"},
        },
        constants={"output_format": "jpeg", "num_inference_steps": 4},
    )


class Migration(migrations.Migration):
    dependencies = [("generation", "0046_input_megapixels")]

    # Taken back, the rows stay: jobs may name them.
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
