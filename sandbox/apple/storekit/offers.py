"""Subscription offers of a control: trials, discounts and codes. (Apple: offerType)"""

from typing import Any

from sandbox.apple.storekit.payloads import FREE_TRIAL, OFFER_DISCOUNT_TYPES, OFFER_TYPES
from sandbox.strict_body import BadRequest, StrictBody

OFFER_FIELDS = ("offer_type", "offer_discount_type", "offer_identifier", "offer_period")


def parse_offer(fields: StrictBody) -> dict[str, Any]:
    """Return the offer attributes of a transaction. All are None without an offer."""
    discount = fields.find_choice("offer_discount_type", OFFER_DISCOUNT_TYPES)
    offer = {
        "offer_type": fields.find_count(
            "offer_type", minimum=min(OFFER_TYPES), maximum=max(OFFER_TYPES)
        ),
        "offer_discount_type": discount,
        "offer_identifier": fields.find_text("offer_identifier"),
        "offer_period": fields.find_text("offer_period"),
    }
    if offer["offer_type"] is None and (given := [name for name in OFFER_FIELDS if offer[name]]):
        raise BadRequest(f"{given[0]} needs an offer_type, from 1 to 4.")
    return offer


def parse_price(fields: StrictBody, offer: dict[str, Any], *, default: int) -> int:
    """Return the charged price: 0 for a free trial, unless `price` is given."""
    price = fields.find_price("price")
    if price is not None:
        return price
    return 0 if offer["offer_discount_type"] == FREE_TRIAL else default
