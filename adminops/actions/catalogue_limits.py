"""How far one member of staff may move what is sold: pure functions over a row before and after.

A row is given as adminops.actions.catalogue describes it, in values that JSON holds. Each function
gives the reasons why a second person has to decide, in words; none where one person may do it
alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.conf import settings

from generation.catalogue import pricing
from generation.lifecycle.poll import DEFAULT_RUN_SECONDS

MAX_PRODUCT_CREDITS = 100_000
MIN_PRICE_USD, MAX_PRICE_USD = Decimal("0.01"), Decimal(1000)
# Of settings that change a price: more are not compared one by one.
MAX_CHOICES = 5_000
# Of a product, what decides who pays what for how many credits, beside the credits themselves.
_OF_PRODUCT = ("product_id", "kind", "period", "rollover")
# Of a route, what decides what is ordered at the provider and what it costs us. Its place among the
# others is free: each of them has been agreed on.
_OF_ROUTE = (
    "provider",
    "provider_model_id",
    "cost_unit",
    "cost_multipliers",
    "parameters",
    "constants",
    "limits",
)


def of_product(agreed: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    """`agreed` is what two people agreed on last; None for a product that is new."""
    if not settings.SUPPORT_PRICE_CHANGE_PERCENT:
        return []
    if agreed is None:
        return ["The product is new."]
    reasons = _changed(_OF_PRODUCT, agreed, after)
    for name in sorted(name for name in after if name.endswith("credits")):
        if problem := _too_far(agreed.get(name, 0), after[name]):
            reasons.append(f"{name} {problem}")
    return reasons


def of_model(agreed: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    """The same for a model with its routes."""
    if not settings.SUPPORT_PRICE_CHANGE_PERCENT:
        return []
    if agreed is None:
        return ["The model is new."]
    reasons = _changed(("kind",), agreed, after)
    reasons += _prices_too_far(agreed, after)
    # Too short, every job is refunded at its deadline, and its provider is paid.
    if problem := _too_far(_run_seconds(agreed), _run_seconds(after)):
        reasons.append(f"run_deadline_seconds {problem}")
    for route_id, route in after["routes"].items():
        name = f"route {route['provider']}: {route['provider_model_id']}"
        known = agreed["routes"].get(route_id)
        if known is None:
            reasons.append(f"The {name} is new.")
            continue
        reasons += [f"{name}: {one}" for one in _changed(_OF_ROUTE, known, route)]
        if problem := _too_far(known["cost_usd"], route["cost_usd"]):
            reasons.append(f"{name}: cost_usd {problem}")
    return reasons


def _changed(names: tuple[str, ...], agreed: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"{name} is another." for name in names if agreed.get(name) != after[name]]


def _run_seconds(model: dict[str, Any]) -> int:
    return model.get("run_deadline_seconds") or DEFAULT_RUN_SECONDS


def _prices_too_far(agreed: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Whether any request would cost much more or less than was agreed on."""
    if agreed["settings"].keys() != after["settings"].keys():
        return ["There are other settings."]
    for number, chosen in enumerate(_choices(agreed, after)):
        if number == MAX_CHOICES:
            return ["There are too many settings to compare the prices of."]
        if any(value not in agreed["settings"][name]["allowed"] for name, value in chosen.items()):
            return ["More can be ordered than before."]
        if problem := _too_far(_price(agreed, chosen), _price(after, chosen)):
            words = ", ".join(f"{name} {value}" for name, value in chosen.items())
            return [f"The price{f' of {words}' if words else ''} {problem}"]
    return []


def _choices(agreed: dict[str, Any], after: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of the settings that may change a price, or that allow more than before."""
    rules = {
        name: rule
        for name, rule in after["settings"].items()
        if name == "duration"
        or name in agreed["multipliers"]
        or name in after["multipliers"]
        or rule != agreed["settings"][name]
    }
    for values in itertools.product(*[rule["allowed"] for rule in rules.values()]):
        yield dict(zip(rules, values, strict=True))


def _price(model: dict[str, Any], chosen: dict[str, Any]) -> Decimal:
    return pricing.price(
        pricing_type=model["pricing_type"],
        base_price_usd=Decimal(model["base_price_usd"]),
        multipliers=model["multipliers"],
        chosen=chosen,
    ).usd


def _too_far(agreed: Any, after: Any) -> str:
    """By how much more than SUPPORT_PRICE_CHANGE_PERCENT one number differs from the other, in
    words; empty within it."""
    agreed, after = Decimal(agreed), Decimal(after)
    most = 1 + Decimal(settings.SUPPORT_PRICE_CHANGE_PERCENT) / 100
    if agreed / most <= after <= agreed * most:
        return ""
    percent = settings.SUPPORT_PRICE_CHANGE_PERCENT
    return (
        f"goes from {agreed:f} to {after:f}: one person moves it by at most {percent} % of what"
        " two people agreed on last."
    )
