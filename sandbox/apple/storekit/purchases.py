"""Purchases, parsed from a control. The fields are Apple's in snake case."""

from typing import Any

from sandbox.apple.storekit.offers import OFFER_FIELDS, parse_offer, parse_price
from sandbox.apple.storekit.payloads import (
    CONSUMABLE,
    ENVIRONMENTS,
    OWNERSHIPS,
    PRODUCT_TYPES,
    PRODUCTION,
    PURCHASED,
    SUBSCRIPTION,
    Transaction,
)
from sandbox.apple.storekit.store import Store
from sandbox.environment import ServedApp
from sandbox.strict_body import BadRequest, StrictBody

MONTH_SECONDS = 30 * 86_400
MAX_PERIOD_SECONDS = 366 * 86_400
DEFAULT_PRICE = 1990
DEFAULT_GROUP = "20000001"
SUBSCRIPTION_FIELDS = (
    "original_transaction_id",
    "subscription_group_identifier",
    "expires_in",
    "expires_date",
    "renewal_price",
    "renewal_override",
)
FIELDS = (
    "product_id",
    "type",
    "quantity",
    "app_account_token",
    "customer",
    "environment",
    "bundle_id",
    "storefront",
    "currency",
    "price",
    "in_app_ownership_type",
    "override",
    *OFFER_FIELDS,
    *SUBSCRIPTION_FIELDS,
)


def parse_purchase(fields: StrictBody, *, at: int, store: Store, app: ServedApp) -> Transaction:
    """Parse a purchase without storing it. `customer` identifies an Apple account, else the app
    account token does. Without either, the customer is new."""
    transaction_id = store.new_id()
    token, offer = fields.find_uuid("app_account_token"), parse_offer(fields)
    customer = fields.find_text("customer") or (token.lower() if token else transaction_id)
    transaction = Transaction(
        transaction_id=transaction_id,
        original_transaction_id=transaction_id,
        bundle_id=fields.find_text("bundle_id") or app.bundle_id,
        product_id=fields.get_text("product_id"),
        type=fields.find_choice("type", PRODUCT_TYPES) or CONSUMABLE,
        environment=fields.find_choice("environment", ENVIRONMENTS) or PRODUCTION,
        app_transaction_id=store.app_transaction_id(customer),
        app_account_token=token,
        purchase_date=at,
        original_purchase_date=at,
        quantity=fields.find_count("quantity", minimum=1, maximum=1_000) or 1,
        in_app_ownership_type=fields.find_choice("in_app_ownership_type", OWNERSHIPS) or PURCHASED,
        storefront=fields.find_text("storefront") or "USA",
        currency=fields.find_text("currency") or "USD",
        price=parse_price(fields, offer, default=DEFAULT_PRICE),
        **offer,
        override=fields.find_object("override") or {},
    )
    if transaction.type == SUBSCRIPTION:
        _add_subscription_fields(transaction, fields, store)
    elif given := [name for name in SUBSCRIPTION_FIELDS if fields.has(name)]:
        raise BadRequest(f"{given[0]} is for type {SUBSCRIPTION}.")
    return transaction


def parse_renewal(fields: StrictBody, transaction: Transaction) -> dict[str, Any]:
    """Parse the price and overrides of the renewal. The price differs from the purchase after an
    offer."""
    price = fields.find_price("renewal_price")
    default = transaction.price if transaction.offer_type is None else DEFAULT_PRICE
    return {
        "renewal_price": default if price is None else price,
        "override": fields.find_object("renewal_override") or {},
    }


def _add_subscription_fields(transaction: Transaction, fields: StrictBody, store: Store) -> None:
    """Add the fields of a subscription, new or resumed from a previous transaction."""
    transaction.web_order_line_item_id = store.new_id()
    group = fields.find_text("subscription_group_identifier")
    transaction.subscription_group_identifier = group or DEFAULT_GROUP
    transaction.expires_date = _parse_expiry(fields, transaction.purchase_date)
    if previous_id := fields.find_text("original_transaction_id"):
        previous = store.find(previous_id)
        if previous is None or store.find_subscription(previous) is None:
            raise BadRequest(f"original_transaction_id {previous_id} is of no subscription.")
        transaction.original_transaction_id = previous.original_transaction_id
        transaction.original_purchase_date = previous.original_purchase_date
        transaction.app_transaction_id = previous.app_transaction_id
        transaction.environment = previous.environment


def _parse_expiry(fields: StrictBody, at: int) -> int:
    seconds = fields.find_seconds("expires_in", max_seconds=MAX_PERIOD_SECONDS)
    ends_at = fields.find_milliseconds("expires_date")
    if seconds is not None and ends_at is not None:
        raise BadRequest("Give expires_in or expires_date.")
    if ends_at is None:
        ends_at = at + int((MONTH_SECONDS if seconds is None else seconds) * 1000)
    if ends_at <= at:
        raise BadRequest("expires_date must be after the purchase: give at an earlier date.")
    return ends_at
