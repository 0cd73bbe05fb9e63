"""What Apple tells us, as our own types: every value present, in range and of its kind.

Fields that decide about money are read strictly: one that is missing or odd makes the payload
unreadable, which a person looks at (services.unreadable). Words that are only shown are cut short.
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
# As much as is kept of Apple's words, and of the codes of currencies and countries: a new one that
# is longer must not keep a purchase back.
LONGEST_WORD, LONGEST_CODE, LONGEST_NAME = 40, 3, 100
LONGEST_ID, MOST_PIECES, HIGHEST_PRICE = 50, 10_000, 10**15
# A date outside of these is none, whatever number stands for it: the App Store opened in 2008.
EARLIEST, LATEST = datetime(2008, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
PAID_DISCOUNTS = frozenset({"PAY_AS_YOU_GO", "PAY_UP_FRONT"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_ID}}}")


class Unreadable(Exception):
    """Apple signed it for our app, and a field that we need is missing or odd. Its text names the
    field, `signed` is the payload, and `stated` what it says."""

    def __init__(
        self, field: str, *, signed: str = "", stated: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(field)
        self.signed = signed
        self.stated = stated or {}


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
    """What will become of a subscription when its period ends, as of `signed_at`."""

    environment: Environment
    original_transaction_id: str
    product_id: str  # of the next period
    is_on: bool
    grace_until: datetime | None
    is_in_billing_retry: bool
    signed_at: datetime


@dataclass(frozen=True)
class Notice:
    """A notification; `transaction` is what it is about, where it is about one, and `renewal` the
    future of its subscription. `refund_reason`: why a refund is asked for, as Apple names it.
    `app_transaction_id`: the Apple account, where it is about all that one buys."""

    notification_uuid: UUID
    environment: Environment
    type: str
    subtype: str
    signed_at: datetime
    transaction: Transaction | None
    renewal: Renewal | None
    refund_reason: str
    app_transaction_id: str


def transaction_of(
    payload: JWSTransactionDecodedPayload, *, environment: Environment
) -> Transaction:
    """Raises Unreadable."""
    transaction_id = identifier(payload.transactionId, "transactionId")
    revoked_at = find_moment(payload.revocationDate, "revocationDate")
    is_period = payload.rawType == SUBSCRIPTION
    original_transaction_id = payload.originalTransactionId
    if original_transaction_id is not None or is_period:
        identifier(original_transaction_id, "originalTransactionId")
    return Transaction(
        environment=environment,
        transaction_id=transaction_id,
        original_transaction_id=original_transaction_id or transaction_id,
        product_id=required(payload.productId, "productId", longest=LONGEST_NAME),
        type=words(required(payload.rawType, "type"), longest=LONGEST_WORD),
        is_renewal=payload.rawTransactionReason == RENEWAL,
        is_family_shared=_is_family_shared(payload.rawInAppOwnershipType),
        # Left out where it is one.
        quantity=_number(payload.quantity, "quantity", least=1, most=MOST_PIECES) or 1,
        app_account_token=_find_uuid(payload.appAccountToken),
        app_transaction_id=_find_identifier(payload.appTransactionId, "appTransactionId"),
        price_milliunits=_price(payload),
        # As Apple wrote them: the library's own enums know only the offers of its release.
        offer_type=_number(payload.rawOfferType, "offerType", least=0, most=32_767),
        offer_discount_type=words(payload.rawOfferDiscountType, longest=LONGEST_WORD),
        offer_identifier=words(payload.offerIdentifier, longest=LONGEST_NAME),
        currency=words(payload.currency, longest=LONGEST_CODE),
        storefront=words(payload.storefront, longest=LONGEST_CODE),
        purchased_at=moment(payload.purchaseDate, "purchaseDate"),
        expires_at=moment(payload.expiresDate, "expiresDate")
        if is_period
        else find_moment(payload.expiresDate, "expiresDate"),
        revoked_at=revoked_at,
        revoked_share=_share(payload) if revoked_at else 0,
        signed_at=moment(payload.signedDate, "signedDate"),
    )


def renewal_of(payload: JWSRenewalInfoDecodedPayload, *, environment: Environment) -> Renewal:
    """Raises Unreadable."""
    return Renewal(
        environment=environment,
        original_transaction_id=identifier(payload.originalTransactionId, "originalTransactionId"),
        product_id=words(payload.autoRenewProductId, longest=LONGEST_NAME),
        is_on=payload.rawAutoRenewStatus == 1,
        grace_until=find_moment(payload.gracePeriodExpiresDate, "gracePeriodExpiresDate"),
        is_in_billing_retry=bool(payload.isInBillingRetryPeriod),
        signed_at=moment(payload.signedDate, "signedDate"),
    )


def required(value: str | None, name: str, *, longest: int | None = None) -> str:
    """The text as it is. Raises Unreadable where there is none, or none that can be kept."""
    if not value or words(value, longest=longest) != value:
        raise Unreadable(name)
    return value


def identifier(value: str | None, name: str) -> str:
    """An id of Apple's. Raises Unreadable."""
    if not value or not _ID.fullmatch(value):
        raise Unreadable(name)
    return value


def _find_identifier(value: str | None, name: str) -> str:
    return identifier(value, name) if value else ""


def words(value: str | None, *, longest: int | None) -> str:
    """A text to be shown, without what no database column takes, and cut short."""
    readable = (value or "").replace("\0", "").encode(errors="replace").decode()
    return readable[:longest]


def moment(milliseconds: int | None, name: str) -> datetime:
    """Apple's time, which is milliseconds since 1970. Raises Unreadable."""
    found = find_moment(milliseconds, name)
    if found is None:
        raise Unreadable(name)
    return found


def find_moment(milliseconds: int | None, name: str) -> datetime | None:
    """The same where there may be none. Raises Unreadable for what is no time."""
    if milliseconds is None:
        return None
    try:
        found = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise Unreadable(name) from None
    if not EARLIEST <= found <= LATEST:
        raise Unreadable(name)
    return found


def _number(value: int | None, name: str, *, least: int, most: int) -> int | None:
    """Raises Unreadable for a number that is not between the two."""
    if value is not None and not least <= value <= most:
        raise Unreadable(name)
    return value


def _price(payload: JWSTransactionDecodedPayload) -> int | None:
    """Raises Unreadable for an offer of which nobody can say whether it was paid."""
    price = _number(payload.price, "price", least=0, most=HIGHEST_PRICE)
    is_told = payload.rawOfferDiscountType in PAID_DISCOUNTS | {FREE_TRIAL}
    if price is None and payload.rawOfferType is not None and not is_told:
        raise Unreadable("price")
    return price


def _is_family_shared(ownership: str | None) -> bool:
    """Raises Unreadable for a word that is neither of the two. Without a word, nobody shares it."""
    if ownership not in (None, PURCHASED, FAMILY_SHARED):
        raise Unreadable("inAppOwnershipType")
    return ownership == FAMILY_SHARED


def uuid_of(text: str | None, name: str) -> UUID:
    """Raises Unreadable."""
    found = _find_uuid(text)
    if found is None:
        raise Unreadable(name)
    return found


def _find_uuid(text: str | None) -> UUID | None:
    """In any case, as Apple hands out what an app gave it."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _share(payload: JWSTransactionDecodedPayload) -> int:
    """How much of it was refunded: all, unless Apple names a part."""
    percentage = payload.revocationPercentage
    return FULL_SHARE if percentage is None else min(max(percentage, 0), FULL_SHARE)
