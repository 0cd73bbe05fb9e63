"""Credits and margins of a model at other prices, computed by the code that prices orders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from generation.catalogue import routing, setting_rules
from generation.catalogue.specs import ModelSpec, RouteSpec

# Combinations of settings that are shown, at most.
MAX_ROWS = 200


@dataclass(frozen=True)
class Margin:
    """The margin of a route: the provider's cost, and the percentage of the revenue that is
    left.
    """

    route: RouteSpec
    cost_usd: Decimal
    percent: Decimal


@dataclass(frozen=True)
class Row:
    """A combination of settings: credits at the current and the new price, and the new margins."""

    chosen: dict[str, Any]
    credits_now: int
    credits: int
    margins: list[Margin]


def with_prices(model: ModelSpec, **prices: Any) -> ModelSpec:
    """A copy of the model with other prices: `pricing_type`, `base_price_usd`, `multipliers`."""
    return replace(model, **prices)


def simulate(now: ModelSpec, repriced: ModelSpec) -> list[Row]:
    """A row for each combination of settings that changes a price or a cost, at most MAX_ROWS."""
    return [
        _row(now, repriced, chosen)
        for chosen in itertools.islice(_choices(now, repriced), MAX_ROWS)
    ]


def _choices(*models: ModelSpec) -> Iterator[dict[str, Any]]:
    priced_settings = {"duration"}
    for model in models:
        priced_settings |= model.multipliers.keys()
        for route in model.routes:
            priced_settings |= route.cost_multipliers.keys() | route.limits.keys()
    choices = {
        name: rule["allowed"] if name in priced_settings else [rule["default"]]
        for name, rule in models[0].settings.items()
        if setting_rules.is_choice(rule)
    }
    for chosen in itertools.product(*choices.values()):
        yield dict(zip(choices, chosen, strict=True))


def _row(now: ModelSpec, repriced: ModelSpec, chosen: dict[str, Any]) -> Row:
    credits = repriced.price(chosen).credits
    margins = [
        Margin(route, route.cost(chosen), routing.margin_percent(route, chosen, credits))
        for route in repriced.routes
        if route.supports(chosen, images=repriced.kind.images)
    ]
    return Row(chosen, now.price(chosen).credits, credits, margins)
