"""Responses about models and themes: for each, the serializer that describes it and its builder."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from generation.catalogue.setting_rules import is_choice
from generation.catalogue.specs import ModelSpec, ThemeSpec
from generation.models import MEDIA_KINDS, PricingType, Tier


class ModelAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    category = serializers.CharField()
    kind = serializers.ChoiceField(choices=MEDIA_KINDS)
    tier = serializers.ChoiceField(
        choices=Tier.choices, required=False, help_text="The quality of an image model."
    )
    description = serializers.CharField(allow_blank=True)
    provider = serializers.CharField()
    is_featured = serializers.BooleanField()
    thumbnail_url = serializers.CharField(allow_null=True)
    pricing_type = serializers.ChoiceField(choices=PricingType.choices)
    base_price = serializers.FloatField(help_text="US dollars.")
    min_credits = serializers.IntegerField(min_value=1)
    required_fields = serializers.ListField(
        child=serializers.CharField(),
        help_text="Of an order. An `upload_id` does for `image_url`.",
    )
    settings = serializers.DictField(
        child=serializers.DictField(), help_text="`{allowed: […], default: …}` by setting."
    )
    optional_settings = serializers.DictField(
        child=serializers.DictField(),
        required=False,
        help_text="Settings without a default, by name: whole numbers as `{minimum, maximum}`, "
        "texts as `{max_length}`.",
    )
    multipliers = serializers.DictField(
        child=serializers.DictField(child=serializers.FloatField()),
        required=False,
        help_text="For `variable` models, by setting and value.",
    )
    uses_trained_models = serializers.BooleanField(
        required=False, help_text="True if an order may name one as `trained_model_id`."
    )


def model_answer(model: ModelSpec) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": model.id,
        "name": model.name,
        "category": model.category,
        "kind": model.kind.name,
        "description": model.description,
        "provider": model.routes[0].provider,
        "is_featured": model.is_featured,
        "thumbnail_url": model.thumbnail_url or None,
        "pricing_type": model.pricing_type,
        "base_price": float(model.base_price_usd),
        "min_credits": model.lowest_credits(),
        "required_fields": model.kind.required_fields,
        "settings": {name: rule for name, rule in model.settings.items() if is_choice(rule)},
    }
    if model.tier:
        answer["tier"] = model.tier
    if len(answer["settings"]) < len(model.settings):
        answer["optional_settings"] = {
            name: rule for name, rule in model.settings.items() if not is_choice(rule)
        }
    if any(route.training.get("base_families") for route in model.routes):
        answer["uses_trained_models"] = True
    if model.multipliers:
        answer["multipliers"] = {
            name: {value: float(factor) for value, factor in factors.items()}
            for name, factors in model.multipliers.items()
        }
    return answer


class ModelsAnswer(serializers.Serializer):
    models = ModelAnswer(many=True)


class ThemeAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    category = serializers.CharField()
    default_prompt = serializers.CharField()
    default_settings = serializers.DictField()
    thumbnail_url = serializers.CharField(allow_null=True)
    model_id = serializers.UUIDField()


def theme_answer(theme: ThemeSpec) -> dict[str, Any]:
    return vars(theme) | {"thumbnail_url": theme.thumbnail_url or None}


class ThemesAnswer(serializers.Serializer):
    themes = ThemeAnswer(many=True)
