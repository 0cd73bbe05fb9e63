"""Payloads of transactions and renewals, before they are signed.

The attributes are Apple's fields in snake case, so that one function converts them. Dates are
milliseconds since 1970. None is omitted.
"""

from dataclasses import dataclass, field
from typing import Any

from sandbox.environment import ServedApp

CONSUMABLE = "Consumable"
SUBSCRIPTION = "Auto-Renewable Subscription"
PRODUCT_TYPES = (CONSUMABLE, "Non-Consumable", SUBSCRIPTION, "Non-Renewing Subscription")
PRODUCTION, SANDBOX = ENVIRONMENTS = ("Production", "Sandbox")
PURCHASED, FAMILY_SHARED = OWNERSHIPS = ("PURCHASED", "FAMILY_SHARED")
INTRODUCTORY, PROMOTIONAL, OFFER_CODE, WIN_BACK = OFFER_TYPES = (1, 2, 3, 4)
FREE_TRIAL = "FREE_TRIAL"
OFFER_DISCOUNT_TYPES = (FREE_TRIAL, "PAY_AS_YOU_GO", "PAY_UP_FRONT", "ONE_TIME")

INTERNAL_FIELDS = ("override", "change")
FULL_PERCENTAGE = 100_000
"""100 %, in thousandths of a percent."""


@dataclass(kw_only=True)
class Transaction:
    transaction_id: str
    original_transaction_id: str
    bundle_id: str
    product_id: str
    type: str
    environment: str
    app_transaction_id: str
    """One for each customer and app."""
    purchase_date: int
    original_purchase_date: int
    quantity: int
    in_app_ownership_type: str
    storefront: str
    currency: str
    price: int
    """Thousandths of the currency."""
    transaction_reason: str = "PURCHASE"
    app_account_token: str | None = None
    subscription_group_identifier: str | None = None
    web_order_line_item_id: str | None = None
    expires_date: int | None = None
    offer_type: int | None = None
    offer_discount_type: str | None = None
    offer_identifier: str | None = None
    offer_period: str | None = None
    is_upgraded: bool | None = None
    revocation_date: int | None = None
    revocation_reason: int | None = None
    revocation_type: str | None = None
    revocation_percentage: int | None = None
    """Thousandths of a percent."""

    override: dict[str, Any] = field(default_factory=dict)
    """Apple's fields as a control overrides them. None omits a field."""
    change: int = 0
    """Sequence number of the last change, which orders a history."""

    def revoke(self, *, at: int, kind: str, percentage: int, reason: int) -> None:
        self.revocation_date = at
        self.revocation_type = kind
        self.revocation_percentage = percentage
        self.revocation_reason = reason

    def restore(self) -> None:
        self.revocation_date = self.revocation_reason = None
        self.revocation_type = self.revocation_percentage = None

    def payload(self, *, signed_at: int) -> dict[str, Any]:
        return _to_payload(self, signed_at=signed_at, override=self.override)


@dataclass(kw_only=True)
class Renewal:
    """The renewal behaviour of a subscription at the end of its period."""

    original_transaction_id: str
    product_id: str
    auto_renew_product_id: str
    environment: str
    app_transaction_id: str
    recent_subscription_start_date: int
    renewal_date: int
    renewal_price: int
    currency: str
    auto_renew_status: int = 1
    app_account_token: str | None = None
    expiration_intent: int | None = None
    is_in_billing_retry_period: bool | None = None
    grace_period_expires_date: int | None = None
    price_increase_status: int | None = None

    override: dict[str, Any] = field(default_factory=dict)
    """As in Transaction."""

    def payload(self, *, signed_at: int) -> dict[str, Any]:
        return _to_payload(self, signed_at=signed_at, override=self.override)


def app_transaction_payload(
    app: ServedApp, environment: str, *, app_transaction_id: str, at: int
) -> dict[str, Any]:
    """The payload of an app transaction. (Apple: AppTransaction)"""
    fields = app_fields(app, environment, bundle_id=app.bundle_id)
    return {
        "receiptType": fields.pop("environment"),
        "receiptCreationDate": at,
        "appTransactionId": app_transaction_id,
        **fields,
    }


def app_fields(app: ServedApp, environment: str, *, bundle_id: str) -> dict[str, Any]:
    """Return the app's fields. The app id is present in production only."""
    fields = {"environment": environment, "bundleId": bundle_id}
    return fields | {"appAppleId": app.app_apple_id} if environment == PRODUCTION else fields


def _to_payload(
    record: Transaction | Renewal, *, signed_at: int, override: dict[str, Any]
) -> dict[str, Any]:
    fields = {
        _to_camel_case(name): value
        for name, value in vars(record).items()
        if name not in INTERNAL_FIELDS
    }
    return without_none(fields | {"signedDate": signed_at} | override)


def without_none(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if value is not None}


def _to_camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
