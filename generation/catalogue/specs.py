"""Models, routes and themes as frozen values, apart from the database rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from generation.catalogue import pricing, setting_rules
from generation.catalogue.kinds import KINDS, NUM_OUTPUTS, WEIGHTS_URL, Kind, num_outputs
from generation.models import NEGATIVE_PROMPT, GenerationModel, ModelKind
from generation.providers import find_provider
from rendio.common.errors import InvalidInput

AUTO = "auto"
# Of the value, in the format or the object that a route maps it to.
PLACE = "{}"
AUTO_SETTINGS = frozenset({"resolution", "aspect_ratio"})
# A route that cannot pass these on does not take an order that has them.
ROUTE_MUST_PASS = ("seed", NEGATIVE_PROMPT)
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
    input_cost_usd: Decimal
    max_input_megapixels: int
    cost_multipliers: dict[str, dict[str, Any]]
    parameters: dict[str, dict[str, Any]]
    constants: dict[str, Any]
    limits: dict[str, list[Any]]
    training: dict[str, Any]

    def payload(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The provider's request body: Sora expects the duration 8, Veo "8s"; one model the aspect
        ratio "1:1", another an object with width and height; one a URL, another an object with the
        URL and its weight. A value that the table maps to null is left out."""
        body = dict(self.constants)
        for name, mapping in self.parameters.items():
            if (value := inputs.get(name)) in (None, ""):
                continue
            if form := mapping.get("format"):
                value = form.format(value)
            value = mapping.get("values", {}).get(str(value), value)
            if value is not None:
                if shape := mapping.get("object"):
                    value = {name: value if part == PLACE else part for name, part in shape.items()}
                body[mapping.get("name", name)] = [value] if mapping.get("list") else value
        return body

    @property
    def changed_by_mask(self) -> str:
        """The part of a mask where the provider changes the image: masks.WHITE, BLACK or
        TRANSPARENT."""
        changes: str = self.parameters.get("mask_url", {}).get("changes", "white")
        return changes

    def loads(self, base_family: str) -> bool:
        """Whether the route can make images with a trained model of this base family."""
        return base_family in self.training.get("base_families", [])

    def supports(
        self, chosen: dict[str, Any], *, images: tuple[str, ...], base_family: str = ""
    ) -> bool:
        """Whether the provider can be asked for these settings, with these source images and, if
        `base_family` is given, with a trained model of it."""
        if base_family and not self.loads(base_family):
            return False
        required = [*images, *(name for name in ROUTE_MUST_PASS if name in chosen)]
        if num_outputs(chosen) > 1:
            required.append(NUM_OUTPUTS)
        if base_family:
            required.append(WEIGHTS_URL)
        return all(name in self.parameters for name in required) and all(
            chosen.get(name) in allowed for name, allowed in self.limits.items()
        )

    def cost(self, chosen: dict[str, Any], *, input_megapixels: int | None = None) -> Decimal:
        """`input_megapixels` are those of the source images. By default the most that count."""
        most = self.max_input_megapixels
        megapixels = most if input_megapixels is None else min(input_megapixels, most)
        return self.input_cost_usd * megapixels + pricing.cost_usd(
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
    kind: Kind
    tier: str
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

    def loads(self, base_family: str) -> bool:
        """Whether a route can make images with a trained model of this base family."""
        return any(route.loads(base_family) for route in self.routes)

    @property
    def providers(self) -> frozenset[str]:
        """Providers that may receive a user's prompt."""
        return frozenset(route.provider for route in self.routes)

    @property
    def min_pictures(self) -> int:
        """The usable images that a trainer needs: what all routes accept, so that any may be the
        next."""
        return max((route.training.get("min_pictures", 1) for route in self.routes), default=1)

    def resolve_settings(
        self, asked: dict[str, Any], *, defaults: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The requested settings, with a theme's `defaults` and then the model's for the rest.

        A setting without a default is left out if it is not set. None means unset. "auto" as a
        resolution or an aspect ratio also means unset, unless the model lists "auto" as a value:
        older apps send "auto" to every model. Raises InvalidInput for an unknown setting and for a
        value that is not allowed.
        """
        asked = {name: value for name, value in asked.items() if not self._is_unset(name, value)}
        problems = self._unknown_setting_errors(asked)
        chosen = {}
        for name, rule in self.settings.items():
            value = asked.get(name, (defaults or {}).get(name, rule.get("default")))
            if value is None:
                continue
            if setting_rules.is_allowed(rule, value):
                chosen[name] = value
            else:
                problems[f"settings.{name}"] = [setting_rules.problem(rule)]
        if problems:
            raise InvalidInput(fields=problems)
        return chosen

    def _is_unset(self, name: str, value: Any) -> bool:
        if value is None:
            return True
        listed = setting_rules.options(self.settings.get(name, {}))
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
        choices = {
            name: rule["allowed"]
            for name, rule in self.settings.items()
            if setting_rules.is_choice(rule)
        }
        return min(
            self.price(dict(zip(choices, chosen, strict=True))).credits
            for chosen in itertools.product(*choices.values())
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


class UnknownKind(Exception):
    """A model of a kind that only a newer release knows."""


def to_spec(row: GenerationModel) -> ModelSpec:
    """Convert a database row, on sale or not. Raises UnknownKind."""
    if row.kind not in KINDS:
        raise UnknownKind(row.kind)
    return ModelSpec(
        id=row.id,
        name=row.name,
        category=row.category,
        kind=KINDS[ModelKind(row.kind)],
        tier=row.tier,
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
                input_cost_usd=route.input_cost_usd,
                max_input_megapixels=route.max_input_megapixels,
                cost_multipliers=route.cost_multipliers,
                parameters=route.parameters,
                constants=route.constants,
                limits=route.limits,
                training=route.training,
            )
            for route in sorted(row.routes.all(), key=lambda route: (route.position, route.id))
            if route.is_enabled and _has_api_key(route.provider)
        ),
    )


def _has_api_key(provider_name: str) -> bool:
    """False for a known provider without an API key in the settings: its routes are hidden."""
    provider = find_provider(provider_name)
    return provider is None or bool(provider.key_labels)
