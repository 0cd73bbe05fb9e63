"""What requests would cost at other prices, by the very code that prices them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from generation.catalogue import routing
from generation.catalogue.cache import ModelSpec, RouteSpec

# Of settings that change a price: more would be no page to read.
MAX_ROWS = 200


@dataclass(frozen=True)
class Margin:
    """What one route leaves of a request: the provider's cost, and the percentage that stays."""

    route: RouteSpec
    cost_usd: Decimal
    percent: Decimal


@dataclass(frozen=True)
class Row:
    """One choice of settings, its credits now and as drafted, and what the draft leaves."""

    chosen: dict[str, Any]
    credits_now: int
    credits: int
    margins: list[Margin]


def with_prices(model: ModelSpec, **prices: Any) -> ModelSpec:
    """The model with other prices: `pricing_type`, `base_price_usd`, `multipliers`."""
    return replace(model, **prices)


def simulate(now: ModelSpec, drafted: ModelSpec) -> list[Row]:
    """For each choice of the settings that change a price or a cost, at most MAX_ROWS."""
    return [
        _row(now, drafted, chosen) for chosen in itertools.islice(_choices(now, drafted), MAX_ROWS)
    ]


def _choices(*models: ModelSpec) -> Iterator[dict[str, Any]]:
    counting = {"duration"}
    for model in models:
        counting |= model.multipliers.keys()
        for route in model.routes:
            counting |= route.cost_multipliers.keys() | route.limits.keys()
    rules = models[0].settings
    values = [
        rule["allowed"] if name in counting else [rule["default"]] for name, rule in rules.items()
    ]
    for chosen in itertools.product(*values):
        yield dict(zip(rules, chosen, strict=True))


def _row(now: ModelSpec, drafted: ModelSpec, chosen: dict[str, Any]) -> Row:
    credits = drafted.price(chosen).credits
    margins = [
        Margin(route, route.cost(chosen), routing.margin_percent(route, chosen, credits))
        for route in drafted.routes
        if all(chosen.get(name) in allowed for name, allowed in route.limits.items())
    ]
    return Row(chosen, now.price(chosen).credits, credits, margins)
