"""Apple's payloads as our own types, with every value validated.

Fields that decide about money are strict: a missing or unexpected one makes the payload unreadable,
and staff look at it (services.unreadable). Texts for display are truncated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import JWSRenewalInfoDecodedPayload
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload

from billing.models import FREE_TRIAL, FULL_SHARE, Environment

CONSUMABLE = "Consumable"
SUBSCRIPTION = "Auto-Renewable Subscription"
RENEWAL = "RENEWAL"
PURCHASED, FAMILY_SHARED = "PURCHASED", "FAMILY_SHARED"
# Apple's words, and the codes of currencies and countries, are truncated: a longer new one must not
# block a purchase.
MAX_WORD, MAX_CODE, MAX_NAME = 40, 3, 100
MAX_ID, MAX_QUANTITY, MAX_PRICE = 50, 10_000, 10**15
# Dates outside this range are invalid. The App Store opened in 2008.
EARLIEST, LATEST = datetime(2008, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
PAID_DISCOUNTS = frozenset({"PAY_AS_YOU_GO", "PAY_UP_FRONT"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_ID}}}")


class Unreadable(Exception):
    """Apple signed the payload for our app, and a field that we need is missing or unexpected. The
    text names the field; `signed` is the payload, `claims` its content.
    """

    def __init__(
        self, field: str, *, signed: str = "", claims: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(field)
        self.signed = signed
        self.claims = claims or {}


@dataclass(frozen=True)
class Transaction:
    """A transaction as of `signed_at`."""

    environment: Environment
    transaction_id: str
    original_transaction_id: str
    product_id: str
    type: str
    is_renewal: bool
    is_family_shared: bool
    quantity: int
    app_account_token: UUID | None
    app_transaction_id: str  # the same for all that one Apple account buys in the app
    price_milliunits: int | None
    offer_type: int | None
    offer_discount_type: str  # Apple's word for how the offer is paid, "" without an offer
    offer_identifier: str
    currency: str
    storefront: str
    purchased_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_share: int  # of the price, in thousandths of a percent
    signed_at: datetime


@dataclass(frozen=True)
class Renewal:
    """The renewal info of a subscription as of `signed_at`."""

    environment: Environment
    original_transaction_id: str
    product_id: str  # of the next period
    is_on: bool
    grace_until: datetime | None
    is_in_billing_retry: bool
    signed_at: datetime


@dataclass(frozen=True)
class DecodedNotification:
    """A notification. `transaction` and `renewal`: set if it is about a transaction or a
    subscription. `refund_reason`: Apple's reason for a refund request. `app_transaction_id`: the
    Apple account, if it is about all that one buys.
    """

    notification_uuid: UUID
    environment: Environment
    type: str
    subtype: str
    signed_at: datetime
    transaction: Transaction | None
    renewal: Renewal | None
    refund_reason: str
    app_transaction_id: str


def parse_transaction(
    payload: JWSTransactionDecodedPayload, *, environment: Environment
) -> Transaction:
    """Raises Unreadable."""
    transaction_id = require_id(payload.transactionId, "transactionId")
    revoked_at = parse_optional_time(payload.revocationDate, "revocationDate")
    is_period = payload.rawType == SUBSCRIPTION
    original_transaction_id = payload.originalTransactionId
    if original_transaction_id is not None or is_period:
        require_id(original_transaction_id, "originalTransactionId")
    return Transaction(
        environment=environment,
        transaction_id=transaction_id,
        original_transaction_id=original_transaction_id or transaction_id,
        product_id=require_text(payload.productId, "productId", max_length=MAX_NAME),
        type=truncate_text(require_text(payload.rawType, "type"), max_length=MAX_WORD),
        is_renewal=payload.rawTransactionReason == RENEWAL,
        is_family_shared=_is_family_shared(payload.rawInAppOwnershipType),
        # Apple leaves out a quantity of 1.
        quantity=_check_range(payload.quantity, "quantity", minimum=1, maximum=MAX_QUANTITY) or 1,
        app_account_token=_find_uuid(payload.appAccountToken),
        app_transaction_id=_optional_id(payload.appTransactionId, "appTransactionId"),
        price_milliunits=_price(payload),
        # Raw values: the library's enums only know the offers of its release.
        offer_type=_check_range(payload.rawOfferType, "offerType", minimum=0, maximum=32_767),
        offer_discount_type=truncate_text(payload.rawOfferDiscountType, max_length=MAX_WORD),
        offer_identifier=truncate_text(payload.offerIdentifier, max_length=MAX_NAME),
        currency=truncate_text(payload.currency, max_length=MAX_CODE),
        storefront=truncate_text(payload.storefront, max_length=MAX_CODE),
        purchased_at=parse_time(payload.purchaseDate, "purchaseDate"),
        expires_at=parse_time(payload.expiresDate, "expiresDate")
        if is_period
        else parse_optional_time(payload.expiresDate, "expiresDate"),
        revoked_at=revoked_at,
        revoked_share=_revoked_share(payload) if revoked_at else 0,
        signed_at=parse_time(payload.signedDate, "signedDate"),
    )


def parse_renewal(payload: JWSRenewalInfoDecodedPayload, *, environment: Environment) -> Renewal:
    """Raises Unreadable."""
    return Renewal(
        environment=environment,
        original_transaction_id=require_id(payload.originalTransactionId, "originalTransactionId"),
        product_id=truncate_text(payload.autoRenewProductId, max_length=MAX_NAME),
        is_on=payload.rawAutoRenewStatus == 1,
        grace_until=parse_optional_time(payload.gracePeriodExpiresDate, "gracePeriodExpiresDate"),
        is_in_billing_retry=bool(payload.isInBillingRetryPeriod),
        signed_at=parse_time(payload.signedDate, "signedDate"),
    )


def require_text(value: str | None, name: str, *, max_length: int | None = None) -> str:
    """Return the text unchanged. Raises Unreadable if it is missing or cannot be stored."""
    if not value or truncate_text(value, max_length=max_length) != value:
        raise Unreadable(name)
    return value


def require_id(value: str | None, name: str) -> str:
    """Return an id of Apple's. Raises Unreadable."""
    if not value or not _ID.fullmatch(value):
        raise Unreadable(name)
    return value


def _optional_id(value: str | None, name: str) -> str:
    return require_id(value, name) if value else ""


def truncate_text(value: str | None, *, max_length: int | None) -> str:
    """Return a text for display, without characters that PostgreSQL rejects, truncated."""
    readable = (value or "").replace("\0", "").encode(errors="replace").decode()
    return readable[:max_length]


def parse_time(milliseconds: int | None, name: str) -> datetime:
    """Parse Apple's time, in milliseconds since 1970. Raises Unreadable."""
    found = parse_optional_time(milliseconds, name)
    if found is None:
        raise Unreadable(name)
    return found


def parse_optional_time(milliseconds: int | None, name: str) -> datetime | None:
    """Like `parse_time`, for a field that may be missing."""
    if milliseconds is None:
        return None
    try:
        found = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise Unreadable(name) from None
    if not EARLIEST <= found <= LATEST:
        raise Unreadable(name)
    return found


def _check_range(value: int | None, name: str, *, minimum: int, maximum: int) -> int | None:
    """Raises Unreadable for a number outside the range."""
    if value is not None and not minimum <= value <= maximum:
        raise Unreadable(name)
    return value


def _price(payload: JWSTransactionDecodedPayload) -> int | None:
    """Raises Unreadable for an offer that may or may not have been paid."""
    price = _check_range(payload.price, "price", minimum=0, maximum=MAX_PRICE)
    is_known = payload.rawOfferDiscountType in PAID_DISCOUNTS | {FREE_TRIAL}
    if price is None and payload.rawOfferType is not None and not is_known:
        raise Unreadable("price")
    return price


def _is_family_shared(ownership: str | None) -> bool:
    """Raises Unreadable for an unknown value. A missing one means not shared."""
    if ownership not in (None, PURCHASED, FAMILY_SHARED):
        raise Unreadable("inAppOwnershipType")
    return ownership == FAMILY_SHARED


def require_uuid(text: str | None, name: str) -> UUID:
    """Raises Unreadable."""
    found = _find_uuid(text)
    if found is None:
        raise Unreadable(name)
    return found


def _find_uuid(text: str | None) -> UUID | None:
    """In upper or lower case, as the app passed it to Apple."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _revoked_share(payload: JWSTransactionDecodedPayload) -> int:
    """Return the refunded share: all of it unless Apple names a part."""
    percentage = payload.revocationPercentage
    return FULL_SHARE if percentage is None else min(max(percentage, 0), FULL_SHARE)
