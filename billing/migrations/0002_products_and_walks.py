"""What is sold at first, and the walks through Apple's history of notifications."""

from django.db import migrations
from django.utils import timezone

CONSUMABLES = [("com.rendio.credits.10", 10), ("com.rendio.credits.50", 50), ("com.rendio.credits.100", 100)]


def sell(apps, schema_editor):
    Product = apps.get_model("billing", "Product")
    for position, (product_id, credits) in enumerate(CONSUMABLES):
        Product.objects.create(
            product_id=product_id,
            kind="consumable",
            name=f"{credits} credits",
            credits=credits,
            position=position,
        )
    Product.objects.create(
        product_id="com.rendio.premium.monthly",
        kind="subscription",
        name="Premium, monthly",
        credits=60,
        rollover="keep",
        period="P1M",
        position=len(CONSUMABLES),
    )


def set_out(apps, schema_editor):
    HistoryWalk = apps.get_model("billing", "HistoryWalk")
    for environment in ("Production", "Sandbox"):
        for scope in ("recent", "failed"):
            HistoryWalk.objects.create(
                environment=environment, scope=scope, due_at=timezone.now()
            )


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunPython(sell, migrations.RunPython.noop),
        migrations.RunPython(set_out, migrations.RunPython.noop),
    ]
