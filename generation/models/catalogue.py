"""The catalogue: models, their provider routes, themes, and price quotes."""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q, Value
from django.utils import timezone

from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet


class ModelKind(models.TextChoices):
    TEXT_TO_VIDEO = "text-to-video", "Text to video"
    IMAGE_TO_VIDEO = "image-to-video", "Image to video"
    KEYFRAMES_TO_VIDEO = "keyframes-to-video", "Keyframes to video"
    TEXT_TO_IMAGE = "text-to-image", "Text to image"
    IMAGE_EDIT = "image-edit", "Image edit"
    INPAINT = "inpaint", "Inpaint"
    UPSCALE = "upscale", "Upscale"
    TRAINING = "training", "Training"


# The kinds of models that users order media of. The others have calls of their own.
MEDIA_KINDS = [choice for choice in ModelKind.choices if choice[0] != ModelKind.TRAINING]


class Tier(models.TextChoices):
    """The quality of an image model."""

    BASIC = "basic"
    STANDARD = "standard"
    HIGH = "high"


class PricingType(models.TextChoices):
    # Of one output. An order of several outputs costs this times their number.
    FIXED = "fixed"  # the base price
    DURATION = "duration"  # the base price for each 4 seconds
    VARIABLE = "variable"  # the base price times the model's multipliers


class GenerationModel(models.Model):
    """A model that users choose. Its routes name the providers."""

    id = models.UUIDField("ID", primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    category = models.CharField(max_length=40)
    kind = models.CharField(max_length=20, choices=ModelKind.choices)
    tier = models.CharField(
        max_length=10,
        choices=Tier.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Quality of an image model. Orders without a model choose by kind and tier.",
    )
    description = models.TextField(blank=True)
    thumbnail_url = models.URLField("thumbnail URL", blank=True)
    is_available = models.BooleanField("available", default=True)
    is_featured = models.BooleanField("featured", default=False)
    is_default = models.BooleanField("default", default=False)
    pricing_type = models.CharField(max_length=10, choices=PricingType.choices)
    base_price_usd = models.DecimalField("base price (USD)", max_digits=8, decimal_places=4)
    multipliers = models.JSONField(
        default=dict, blank=True, help_text='{"resolution": {"1080p": "1.5"}, …}'
    )
    settings = models.JSONField(
        default=dict,
        help_text='{"duration": {"allowed": [4, 8], "default": 4}, …}, and without a default '
        '{"seed": {"minimum": 0, "maximum": 2147483647}, "negative_prompt": {"max_length": 500}}',
    )
    run_deadline_seconds = models.PositiveIntegerField(
        "run deadline (seconds)",
        null=True,
        blank=True,
        help_text="Maximum run time in seconds. Empty: 10 minutes.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "generation_model"
        verbose_name = "model"
        constraints = [
            # Orders without a model use the default model.
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="model_one_default"
            ),
            # Every job has a charge, and a charge is at least one credit.
            models.CheckConstraint(condition=Q(base_price_usd__gt=0), name="model_costs_something"),
        ]

    def __str__(self) -> str:
        return self.name


class CostUnit(models.TextChoices):
    SECOND = "second"
    PIECE = "piece"


class ProviderRoute(models.Model):
    """A model at one provider: the provider's model id, our cost, and the mapping of parameters."""

    id = models.UUIDField("ID", primary_key=True, default=uuid4, editable=False)
    model = models.ForeignKey(GenerationModel, on_delete=models.CASCADE, related_name="routes")
    provider = models.CharField(max_length=20)
    provider_model_id = models.CharField("provider model ID", max_length=120)
    position = models.PositiveSmallIntegerField(
        default=1,
        help_text="Lowest first. Routes with the same position share the orders by weight.",
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1)],
        help_text="Share of the orders among routes with the same position.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    cost_usd = models.DecimalField(
        "cost (USD)", max_digits=8, decimal_places=4, help_text="Cost per unit."
    )
    cost_unit = models.CharField(max_length=10, choices=CostUnit.choices)
    input_cost_usd = models.DecimalField(
        "input cost (USD)",
        max_digits=8,
        decimal_places=4,
        default=0,
        db_default=0,
        validators=[MinValueValidator(0)],
        help_text="Added for each megapixel of the source images, rounded up for each image.",
    )
    max_input_megapixels = models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1)],
        help_text="Megapixels of an order's images that the provider charges at most, because it "
        "makes larger images smaller. Margins are calculated with them.",
    )
    cost_multipliers = models.JSONField(
        default=dict,
        blank=True,
        help_text='Cost factors by setting, such as {"resolution": {"1080p": "1.6667"}}',
    )
    parameters = models.JSONField(
        help_text="The provider's names of our settings, such as "
        '{"prompt": {}, "duration": {"name": "duration", "format": "{}s"}, '
        '"aspect_ratio": {"name": "image_size", "values": {"1:1": "square_hd"}}, '
        '"image_url": {"name": "image_urls", "list": true}, '
        '"weights_url": {"name": "loras", "object": {"path": "{}", "scale": 1}, "list": true}}'
    )
    constants = models.JSONField(
        default=dict, blank=True, help_text="Sent to the provider unchanged."
    )
    limits = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        help_text='Supported values, if fewer than the model has: {"duration": [4, 8]}',
    )
    training = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        help_text="What the route needs or makes as a trainer: "
        '{"min_pictures": 10, "captions": true, "base_family": "flux-1-dev"}; '
        'of an image model, the trained models that it loads: {"base_families": ["flux-1-dev"]}',
    )

    class Meta:
        db_table = "generation_route"
        verbose_name = "route"

    def __str__(self) -> str:
        return f"{self.provider}: {self.provider_model_id}"


class Theme(models.Model):
    """A preset: a prompt, settings, and the model to use."""

    id = models.UUIDField("ID", primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=40)
    default_prompt = models.TextField()
    default_settings = models.JSONField(default=dict, blank=True)
    thumbnail_url = models.URLField("thumbnail URL", blank=True)
    model = models.ForeignKey(GenerationModel, on_delete=models.CASCADE, related_name="themes")
    is_available = models.BooleanField("available", default=True)

    def __str__(self) -> str:
        return self.name


class Quote(models.Model):
    """A price that is guaranteed until `expires_at`."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    model_id = models.UUIDField()
    settings = models.JSONField()
    credits = models.PositiveIntegerField()
    price_usd = models.DecimalField(max_digits=10, decimal_places=4)
    orders = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Number of orders with this quote."
    )
    expires_at = models.DateTimeField()

    objects = OwnedQuerySet["Quote"].as_manager()

    class Meta:
        # The purge of expired quotes.
        indexes = [models.Index(fields=["expires_at"], name="quote_expiring")]

    def __str__(self) -> str:
        return f"{self.credits} credits"
