"""Limits for edits of the catalogue by one member of staff: pure functions over rows.

A row is a dict of JSON values (adminops.actions.catalogue). Each function returns the reasons why a
second person has to approve an edit, as sentences; an empty list if one person may do it alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.conf import settings

from generation.catalogue import pricing, setting_rules
from generation.catalogue.cache import DEFAULT_RUN_SECONDS

MAX_PRODUCT_CREDITS = 100_000
MIN_PRICE_USD, MAX_PRICE_USD = Decimal("0.01"), Decimal(1000)
# Of the settings that change a price. An edit with more combinations needs a second person.
MAX_COMBINATIONS = 5_000
# Fields of a product, besides the credits, that determine a customer's return for a payment.
_PRODUCT_FIELDS = ("product_id", "kind", "period", "rollover")
# Fields of a route that determine the order at the provider and its cost. The position is free:
# every route has been approved.
_ROUTE_FIELDS = (
    "provider",
    "provider_model_id",
    "cost_unit",
    "input_cost_usd",
    "max_input_megapixels",
    "cost_multipliers",
    "parameters",
    "constants",
    "limits",
    "training",
)


def product_approval_reasons(baseline: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    """`baseline` is the product as last approved; None for a new product."""
    if not settings.SUPPORT_PRICE_CHANGE_PERCENT:
        return []
    if baseline is None:
        return ["The product is new."]
    reasons = _changed(_PRODUCT_FIELDS, baseline, after)
    for name in sorted(name for name in after if name.endswith("credits")):
        if problem := _excessive_change(baseline.get(name, 0), after[name]):
            reasons.append(f"{name} {problem}")
    return reasons


def model_approval_reasons(baseline: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    """As product_approval_reasons, for a model with its routes."""
    if not settings.SUPPORT_PRICE_CHANGE_PERCENT:
        return []
    if baseline is None:
        return ["The model is new."]
    reasons = _changed(("kind",), baseline, after)
    reasons += _excessive_price_changes(baseline, after)
    # With a deadline that is too short, every job is refunded and its provider is paid.
    if problem := _excessive_change(_run_seconds(baseline), _run_seconds(after)):
        reasons.append(f"run_deadline_seconds {problem}")
    for route_id, route in after["routes"].items():
        name = f"route {route['provider']}: {route['provider_model_id']}"
        known = baseline["routes"].get(route_id)
        if known is None:
            reasons.append(f"The {name} is new.")
            continue
        reasons += [f"{name}: {one}" for one in _changed(_ROUTE_FIELDS, known, route)]
        if problem := _excessive_change(known["cost_usd"], route["cost_usd"]):
            reasons.append(f"{name}: cost_usd {problem}")
    return reasons


def _changed(names: tuple[str, ...], baseline: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"{name} is changed." for name in names if baseline.get(name) != after[name]]


def _run_seconds(model: dict[str, Any]) -> int:
    return model.get("run_deadline_seconds") or DEFAULT_RUN_SECONDS


def _excessive_price_changes(baseline: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Whether the price of any request differs too much from the baseline."""
    if baseline["settings"].keys() != after["settings"].keys():
        return ["The settings are different."]
    for number, chosen in enumerate(_combinations(baseline, after)):
        if number == MAX_COMBINATIONS:
            return ["There are too many settings to compare the prices of."]
        if any(
            value not in setting_rules.options(baseline["settings"][name])
            for name, value in chosen.items()
        ):
            return ["The settings allow more than before."]
        if problem := _excessive_change(_price(baseline, chosen), _price(after, chosen)):
            words = ", ".join(f"{name} {value}" for name, value in chosen.items())
            return [f"The price{f' of {words}' if words else ''} {problem}"]
    return []


def _combinations(baseline: dict[str, Any], after: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The combinations of settings that may change a price, or allow more than before."""
    rules = {
        name: rule
        for name, rule in after["settings"].items()
        if name == "duration"
        or name in baseline["multipliers"]
        or name in after["multipliers"]
        or rule != baseline["settings"][name]
    }
    for values in itertools.product(*map(setting_rules.options, rules.values())):
        yield dict(zip(rules, values, strict=True))


def _price(model: dict[str, Any], chosen: dict[str, Any]) -> Decimal:
    return pricing.price(
        pricing_type=model["pricing_type"],
        base_price_usd=Decimal(model["base_price_usd"]),
        multipliers=model["multipliers"],
        chosen=chosen,
    ).usd


def _excessive_change(baseline: Any, after: Any) -> str:
    """The end of a sentence if the change exceeds SUPPORT_PRICE_CHANGE_PERCENT; empty otherwise."""
    baseline, after = Decimal(baseline), Decimal(after)
    most = 1 + Decimal(settings.SUPPORT_PRICE_CHANGE_PERCENT) / 100
    if baseline / most <= after <= baseline * most:
        return ""
    percent = settings.SUPPORT_PRICE_CHANGE_PERCENT
    return (
        f"changes from {baseline:f} to {after:f}: one person may change it by at most {percent} %"
        " of the approved value."
    )
