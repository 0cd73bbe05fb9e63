"""Prices and costs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from generation.catalogue import cache, pricing
from tests.helpers.model_ids import SORA

SORA_PRO_FACTORS = {
    "duration": {"4": "1", "8": "2", "12": "3"},
    "resolution": {"720p": "1", "1080p": "1.5"},
}


def priced(kind, base, chosen, multipliers=None):
    return pricing.price(
        pricing_type=kind,
        base_price_usd=Decimal(base),
        multipliers=multipliers or {},
        chosen=chosen,
    )


@pytest.mark.parametrize(
    ("kind", "base", "chosen", "usd", "credits"),
    [
        ("fixed", "0.45", {}, "0.45", 5),
        ("fixed", "0.45", {"duration": 12}, "0.45", 5),
        ("fixed", "0.40", {}, "0.40", 4),
        ("fixed", "0.4001", {}, "0.4001", 5),
        ("fixed", "0.0001", {}, "0.0001", 1),
        ("duration", "0.40", {"duration": 4}, "0.40", 4),
        ("duration", "0.40", {"duration": 8}, "0.80", 8),
        ("duration", "0.40", {"duration": 12}, "1.20", 12),
        ("duration", "0.40", {"duration": 5}, "0.50", 5),
        ("duration", "0.40", {"duration": 6}, "0.60", 6),
        ("duration", "1.00", {"duration": 6}, "1.50", 15),
        ("duration", "0.10", {"duration": 1}, "0.025", 1),
        ("duration", "0.35", {"duration": 4}, "0.35", 4),
        # 0.1 + 0.2 of floats would round up to one credit more.
        ("duration", "0.10", {"duration": 12}, "0.30", 3),
        ("duration", "0.70", {"duration": 4}, "0.70", 7),
    ],
)
def test_fixed_and_duration_prices(kind, base, chosen, usd, credits):
    price = priced(kind, base, chosen)

    assert (price.usd, price.credits) == (Decimal(usd), credits)


@pytest.mark.parametrize(
    ("chosen", "credits"),
    [
        ({"duration": 4, "resolution": "720p"}, 18),
        ({"duration": 4, "resolution": "1080p"}, 27),
        ({"duration": 8, "resolution": "720p"}, 36),
        ({"duration": 12, "resolution": "1080p"}, 81),
        ({"duration": 5, "resolution": "720p"}, 18),  # without a factor of its own it counts as 1
        ({}, 18),
    ],
)
def test_variable_prices(chosen, credits):
    assert priced("variable", "1.80", chosen, SORA_PRO_FACTORS).credits == credits


@pytest.mark.parametrize("factor", ["1.1", 1.1])
def test_a_factor_is_the_decimal_that_was_written(factor):
    price = priced("variable", "1.00", {"resolution": "hd"}, {"resolution": {"hd": factor}})

    assert (price.usd, price.credits) == (Decimal("1.100"), 11)


@pytest.mark.parametrize(("seconds", "credits"), [(4, 4), (8, 8), (12, 12)])
def test_sora_2_as_sold(db, seconds, credits):
    sora = cache.current().model(SORA)

    assert sora.price(sora.resolve_settings({"duration": seconds})).credits == credits


@pytest.mark.parametrize(
    ("unit", "chosen", "usd"),
    [
        ("second", {"duration": 8, "resolution": "720p"}, "2.40"),
        ("second", {"duration": 8, "resolution": "1080p"}, "4.80"),
        ("piece", {"duration": 8, "resolution": "720p"}, "0.30"),
        ("second", {}, "1.20"),
    ],
)
def test_what_the_provider_takes(unit, chosen, usd):
    cost = pricing.cost_usd(
        unit=unit,
        unit_cost_usd=Decimal("0.30"),
        multipliers={"resolution": {"1080p": "2"}},
        chosen=chosen,
    )

    assert cost == Decimal(usd)
