"""Prices for users and costs at providers: pure functions, Decimal from end to end."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from django.conf import settings

from generation.catalogue.kinds import num_outputs
from generation.models import CostUnit, PricingType

# The base price of a `duration` model is for this many seconds.
BASE_PRICE_SECONDS = 4
PIXELS_PER_MEGAPIXEL = 1_000_000


@dataclass(frozen=True)
class Price:
    """The price of an order. Each of its outputs has the same whole number of credits, so that the
    share of a missing output can be refunded."""

    usd: Decimal
    credits: int


def price(
    *,
    pricing_type: str,
    base_price_usd: Decimal,
    multipliers: dict[str, dict[str, Any]],
    chosen: dict[str, Any],
) -> Price:
    """The price of the `chosen` settings. A value without a multiplier counts as 1."""
    usd = base_price_usd
    if pricing_type == PricingType.DURATION:
        usd = usd * Decimal(chosen["duration"]) / BASE_PRICE_SECONDS
    elif pricing_type == PricingType.VARIABLE:
        usd = _apply_multipliers(usd, multipliers, chosen)
    outputs = num_outputs(chosen)
    return Price(usd=usd * outputs, credits=to_credits(usd) * outputs)


def to_credits(usd: Decimal) -> int:
    """Convert US dollars to whole credits, rounded up, at least 1."""
    whole = (usd / Decimal(settings.CREDIT_PRICE_USD)).to_integral_value(rounding=ROUND_CEILING)
    return max(int(whole), 1)


def cost_usd(
    *,
    unit: str,
    unit_cost_usd: Decimal,
    multipliers: dict[str, dict[str, Any]],
    chosen: dict[str, Any],
) -> Decimal:
    """The provider's price for one generation with all its outputs."""
    cost = _apply_multipliers(unit_cost_usd, multipliers, chosen) * num_outputs(chosen)
    if unit == CostUnit.SECOND:
        return cost * Decimal(chosen.get("duration", BASE_PRICE_SECONDS))
    return cost


def megapixels(width: int, height: int) -> int:
    """Of an image, rounded up, as providers charge them."""
    return -(-width * height // PIXELS_PER_MEGAPIXEL)


def _apply_multipliers(
    usd: Decimal, multipliers: dict[str, dict[str, Any]], chosen: dict[str, Any]
) -> Decimal:
    for name, factors in multipliers.items():
        usd *= Decimal(str(factors.get(str(chosen.get(name)), 1)))
    return usd
