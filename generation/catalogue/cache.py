"""The in-memory catalogue of each process, reloaded every settings.CATALOGUE_CACHE_SECONDS.

Every process shows a change in the admin within that time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.utils.translation import gettext as _

from generation.catalogue import availability, pricing
from generation.catalogue.availability import Availability
from generation.errors import InvalidModel
from generation.models import GenerationModel, ModelKind, Theme
from generation.providers import find_provider
from rendio.common.collation import sort_key
from rendio.common.errors import InvalidInput
from rendio.common.ttl_cache import ttl_cache

logger = structlog.get_logger(__name__)

DEFAULT_RUN_SECONDS = 600
AUTO = "auto"
AUTO_SETTINGS = frozenset({"resolution", "aspect_ratio"})
# Limits for the unknown settings that an error message names: how many, and characters of each.
MAX_UNKNOWN_SETTINGS, MAX_SETTING_NAME = 20, 40


@dataclass(frozen=True)
class RouteSpec:
    id: UUID
    provider: str
    provider_model_id: str
    position: int
    weight: int
    cost_usd: Decimal
    cost_unit: str
    cost_multipliers: dict[str, dict[str, Any]]
    parameters: dict[str, dict[str, str]]
    constants: dict[str, Any]
    limits: dict[str, list[Any]]

    def payload(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The provider's request body: Sora expects the duration 8, Veo "8s"."""
        body = dict(self.constants)
        for name, mapping in self.parameters.items():
            if (value := inputs.get(name)) not in (None, ""):
                form = mapping.get("format")
                body[mapping.get("name", name)] = form.format(value) if form else value
        return body

    def cost(self, chosen: dict[str, Any]) -> Decimal:
        return pricing.cost_usd(
            unit=self.cost_unit,
            unit_cost_usd=self.cost_usd,
            multipliers=self.cost_multipliers,
            chosen=chosen,
        )


@dataclass(frozen=True)
class ModelSpec:
    id: UUID
    name: str
    category: str
    kind: str
    description: str
    thumbnail_url: str
    is_featured: bool
    is_default: bool
    pricing_type: str
    base_price_usd: Decimal
    multipliers: dict[str, dict[str, Any]]
    settings: dict[str, dict[str, Any]]
    run_deadline_seconds: int | None
    routes: tuple[RouteSpec, ...]

    @property
    def providers(self) -> frozenset[str]:
        """Providers that may receive a user's prompt."""
        return frozenset(route.provider for route in self.routes)

    @property
    def needs_image(self) -> bool:
        return self.kind == ModelKind.IMAGE_TO_VIDEO

    @property
    def required_fields(self) -> list[str]:
        return ["prompt", "image_url"] if self.needs_image else ["prompt"]

    @property
    def queue(self) -> str:
        """The Celery queue. Images are quick and must not wait behind videos."""
        return "medium" if self.kind == ModelKind.TEXT_TO_IMAGE else "low"

    def resolve_settings(
        self, asked: dict[str, Any], *, defaults: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The requested settings, with a theme's `defaults` and then the model's for the rest.

        None means unset. "auto" as a resolution or an aspect ratio also means unset, unless the
        model lists "auto" as a value: older apps send "auto" to every model. Raises InvalidInput
        for an unknown setting and for a value that is not allowed.
        """
        asked = {name: value for name, value in asked.items() if not self._is_unset(name, value)}
        problems = self._unknown_setting_errors(asked)
        chosen = {}
        for name, rule in self.settings.items():
            value = asked.get(name, (defaults or {}).get(name, rule["default"]))
            # 4 == 4.0 == True in Python: the type is part of the value here.
            if any(type(value) is type(option) and value == option for option in rule["allowed"]):
                chosen[name] = value
            else:
                options = ", ".join(str(option) for option in rule["allowed"])
                problem = _("Must be one of %(options)s.") % {"options": options}
                problems[f"settings.{name}"] = [problem]
        if problems:
            raise InvalidInput(fields=problems)
        return chosen

    def _is_unset(self, name: str, value: Any) -> bool:
        if value is None:
            return True
        listed = self.settings[name]["allowed"] if name in self.settings else []
        return name in AUTO_SETTINGS and value == AUTO and AUTO not in listed

    def _unknown_setting_errors(self, asked: dict[str, Any]) -> dict[str, list[str]]:
        """Errors for names that are no setting of this model, keyed as in a request body."""
        known = ", ".join(self.settings)
        problem = (
            _("This model has no such setting. It has: %(known)s.") % {"known": known}
            if known
            else _("This model has no settings.")
        )
        unknown = [name for name in asked if name not in self.settings][:MAX_UNKNOWN_SETTINGS]
        return {f"settings.{name[:MAX_SETTING_NAME]}": [problem] for name in unknown}

    def price(self, chosen: dict[str, Any]) -> pricing.Price:
        return pricing.price(
            pricing_type=self.pricing_type,
            base_price_usd=self.base_price_usd,
            multipliers=self.multipliers,
            chosen=chosen,
        )

    def lowest_credits(self) -> int:
        """The price of the cheapest combination of settings."""
        options = [rule["allowed"] for rule in self.settings.values()]
        return min(
            self.price(dict(zip(self.settings, chosen, strict=True))).credits
            for chosen in itertools.product(*options)
        )


@dataclass(frozen=True)
class ThemeSpec:
    id: UUID
    name: str
    description: str
    category: str
    default_prompt: str
    default_settings: dict[str, Any]
    thumbnail_url: str
    model_id: UUID


@dataclass(frozen=True)
class Catalogue:
    """Models and themes on sale, and availability.

    `models_json` and `themes_json` map a language to the response body. The order of names depends
    on the language.
    """

    models: dict[UUID, ModelSpec]
    themes: dict[UUID, ThemeSpec]
    availability: Availability = field(default_factory=Availability)
    models_json: dict[str, bytes] = field(default_factory=dict, repr=False)
    themes_json: dict[str, bytes] = field(default_factory=dict, repr=False)

    def model(self, model_id: UUID) -> ModelSpec:
        """Raises InvalidModel."""
        try:
            return self.models[model_id]
        except KeyError:
            raise InvalidModel from None

    def theme(self, theme_id: UUID) -> ThemeSpec:
        """Raises InvalidModel."""
        try:
            return self.themes[theme_id]
        except KeyError:
            raise InvalidModel from None

    def default_model(self) -> ModelSpec:
        """The default model, else one without an image. Raises InvalidModel if none is left."""
        for model in self.models.values():
            if model.is_default:
                return model
        for model in self.models.values():
            if not model.needs_image:
                return model
        raise InvalidModel


@ttl_cache(lambda: settings.CATALOGUE_CACHE_SECONDS)
def current() -> Catalogue:
    """The cached catalogue, at most CATALOGUE_CACHE_SECONDS old."""
    return _load()


def invalidate() -> None:
    """Load the catalogue again at the next request of this process, after a change."""
    current.cache_clear()


def get_routes(model_id: UUID) -> tuple[RouteSpec, ...]:
    """The model's enabled routes by position, also if the model is off sale; none if deleted."""
    if model := current().models.get(model_id):
        return model.routes
    row = GenerationModel.objects.prefetch_related("routes").filter(id=model_id).first()
    return to_spec(row).routes if row else ()


def run_deadline_seconds(model_id: UUID) -> int:
    """Seconds that a job of the model may run: the setting, else the model's, else ten minutes."""
    # The catalogue has no models that are off sale.
    model = current().models.get(model_id) or GenerationModel.objects.filter(id=model_id).first()
    return (
        settings.JOB_RUN_DEADLINE_SECONDS
        or (model and model.run_deadline_seconds)
        or DEFAULT_RUN_SECONDS
    )


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _load() -> Catalogue:
    rows = GenerationModel.objects.filter(is_available=True).prefetch_related("routes")
    models: dict[UUID, ModelSpec] = {}
    bodies: dict[UUID, dict[str, Any]] = {}
    for spec in sorted(map(to_spec, rows), key=partial(_model_sort_key, language="en")):
        if not spec.routes:
            continue
        try:
            bodies[spec.id] = _as_json(spec)
        except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError):
            # One row that cannot be priced must not take the other models off sale.
            logger.exception("model_left_out", model_id=str(spec.id))
            continue
        models[spec.id] = spec
    themes = {
        row.id: ThemeSpec(
            id=row.id,
            name=row.name,
            description=row.description,
            category=row.category,
            default_prompt=row.default_prompt,
            default_settings=row.default_settings,
            thumbnail_url=row.thumbnail_url,
            model_id=row.model_id,
        )
        for row in Theme.objects.filter(is_available=True)
        if row.model_id in models
    }
    languages = [language for language, _name in settings.LANGUAGES]
    return Catalogue(
        models,
        themes,
        availability.read(),
        {
            language: _dump(
                {
                    "models": [
                        bodies[model.id]
                        for model in sorted(
                            models.values(), key=partial(_model_sort_key, language=language)
                        )
                    ]
                }
            )
            for language in languages
        },
        {
            language: _dump(
                {
                    "themes": [
                        vars(theme) | {"thumbnail_url": theme.thumbnail_url or None}
                        for theme in sorted(
                            themes.values(), key=lambda theme: sort_key(theme.name, language)
                        )
                    ]
                }
            )
            for language in languages
        },
    )


def _model_sort_key(model: ModelSpec, *, language: str) -> tuple[Any, ...]:
    """Featured models first, then by name in the order of the language."""
    return not model.is_featured, sort_key(model.name, language)


def to_spec(row: GenerationModel) -> ModelSpec:
    """Convert a database row, on sale or not."""
    return ModelSpec(
        id=row.id,
        name=row.name,
        category=row.category,
        kind=row.kind,
        description=row.description,
        thumbnail_url=row.thumbnail_url,
        is_featured=row.is_featured,
        is_default=row.is_default,
        pricing_type=row.pricing_type,
        base_price_usd=row.base_price_usd,
        multipliers=row.multipliers,
        settings=row.settings,
        run_deadline_seconds=row.run_deadline_seconds,
        routes=tuple(
            RouteSpec(
                id=route.id,
                provider=route.provider,
                provider_model_id=route.provider_model_id,
                position=route.position,
                weight=route.weight,
                cost_usd=route.cost_usd,
                cost_unit=route.cost_unit,
                cost_multipliers=route.cost_multipliers,
                parameters=route.parameters,
                constants=route.constants,
                limits=route.limits,
            )
            for route in sorted(row.routes.all(), key=lambda route: (route.position, route.id))
            if route.is_enabled and _has_api_key(route.provider)
        ),
    )


def _has_api_key(provider_name: str) -> bool:
    """False for a known provider without an API key in the settings: its routes are hidden."""
    provider = find_provider(provider_name)
    return provider is None or bool(provider.key_labels)


def _as_json(model: ModelSpec) -> dict[str, Any]:
    body = {
        "id": model.id,
        "name": model.name,
        "category": model.category,
        "kind": model.kind,
        "description": model.description,
        "provider": model.routes[0].provider,
        "is_featured": model.is_featured,
        "thumbnail_url": model.thumbnail_url or None,
        "pricing_type": model.pricing_type,
        "base_price": float(model.base_price_usd),
        "min_credits": model.lowest_credits(),
        "required_fields": model.required_fields,
        "settings": model.settings,
    }
    if model.multipliers:
        body["multipliers"] = {
            name: {value: float(factor) for value, factor in factors.items()}
            for name, factors in model.multipliers.items()
        }
    return body


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, default=str, ensure_ascii=False).encode()
