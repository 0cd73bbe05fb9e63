"""What Apple tells us, as our own types: every value present, in range and of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import JWSRenewalInfoDecodedPayload
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload

from billing.models import WHOLE, Environment

CONSUMABLE = "Consumable"
SUBSCRIPTION = "Auto-Renewable Subscription"
RENEWAL = "RENEWAL"
FAMILY_SHARED = "FAMILY_SHARED"
# As much as is kept of Apple's words, and of the codes of currencies and countries: a new one that
# is longer must not keep a purchase back.
LONGEST_WORD, LONGEST_CODE, LONGEST_NAME = 40, 3, 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """Apple signed it, and we do not understand it. Its text names the field."""


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
    transaction_id = required(payload.transactionId, "transactionId")
    revoked_at = find_moment(payload.revocationDate)
    return Transaction(
        environment=environment,
        transaction_id=transaction_id,
        original_transaction_id=payload.originalTransactionId or transaction_id,
        product_id=required(payload.productId, "productId"),
        type=(payload.rawType or "")[:LONGEST_WORD],
        is_renewal=payload.rawTransactionReason == RENEWAL,
        is_family_shared=payload.rawInAppOwnershipType == FAMILY_SHARED,
        # Left out where it is one.
        quantity=max(payload.quantity or 1, 1),
        app_account_token=_find_uuid(payload.appAccountToken),
        app_transaction_id=payload.appTransactionId or "",
        price_milliunits=payload.price,
        # As Apple wrote them: the library's own enums know only the offers of its release.
        offer_type=payload.rawOfferType,
        offer_discount_type=(payload.rawOfferDiscountType or "")[:LONGEST_WORD],
        offer_identifier=(payload.offerIdentifier or "")[:LONGEST_NAME],
        currency=(payload.currency or "")[:LONGEST_CODE],
        storefront=(payload.storefront or "")[:LONGEST_CODE],
        purchased_at=moment(payload.purchaseDate, "purchaseDate"),
        expires_at=find_moment(payload.expiresDate),
        revoked_at=revoked_at,
        revoked_share=_share(payload) if revoked_at else 0,
        signed_at=moment(payload.signedDate, "signedDate"),
    )


def renewal_of(payload: JWSRenewalInfoDecodedPayload, *, environment: Environment) -> Renewal:
    """Raises Unreadable."""
    return Renewal(
        environment=environment,
        original_transaction_id=required(payload.originalTransactionId, "originalTransactionId"),
        product_id=payload.autoRenewProductId or "",
        is_on=payload.rawAutoRenewStatus == 1,
        grace_until=find_moment(payload.gracePeriodExpiresDate),
        is_in_billing_retry=bool(payload.isInBillingRetryPeriod),
        signed_at=moment(payload.signedDate, "signedDate"),
    )


def required(value: str | None, name: str) -> str:
    """Raises Unreadable."""
    if not value:
        raise Unreadable(name)
    return value


def moment(milliseconds: int | None, name: str) -> datetime:
    """Apple's time, which is milliseconds since 1970. Raises Unreadable."""
    found = find_moment(milliseconds)
    if found is None:
        raise Unreadable(name)
    return found


def find_moment(milliseconds: int | None) -> datetime | None:
    """The same where there may be none. Raises Unreadable for what is no time."""
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds) if milliseconds else None
    except OverflowError:
        raise Unreadable("a time") from None


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
    return WHOLE if percentage is None else min(max(percentage, 0), WHOLE)
