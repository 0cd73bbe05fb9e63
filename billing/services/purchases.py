"""What Apple says was bought, and what becomes of it in the ledger.

Guarantee: one grant for a transaction, ever, and at any time the part of it that Apple has refunded
is taken back, no more and no less. Both follow from the row alone: `record` keeps what Apple says,
the latest that was signed and not the latest that came; `settle` makes the ledger agree with it.
Who called them, how often and in which order makes no difference, and a crash between the two
leaves a row that is due.

The locks, as everywhere: first the wallet, then the subscription if it is a period of one, then
the purchase.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from accounts import services as account_services
from accounts.models import User
from billing.appstore import payloads
from billing.appstore.payloads import Transaction
from billing.models import NEEDS_REVIEW, PendingReason, Product, ProductKind, Purchase
from billing.services import fraud, grants, parental_consent, periods, subscriptions
from credits import services as credit_services
from rendio.common.errors import NotFound

logger = structlog.get_logger(__name__)

# By whoever recorded it. After that it is due to a worker.
SYNC_GRACE = timedelta(seconds=30)
# How often a purchase that waits for a related debt is looked at again.
DEBT_RECHECK_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True)
class SyncResult:
    """How a purchase stands. `is_new`: this very call granted the credits."""

    purchase: Purchase
    owner: User | None
    is_new: bool
    balance: int


@transaction.atomic(durable=True)
def upsert_from_apple(bought: Transaction, *, now: datetime) -> Purchase:
    """Keep what Apple says, and have it settled; older news than we have changes nothing."""
    purchase, is_new = Purchase.objects.select_for_update().get_or_create(
        environment=bought.environment,
        transaction_id=bought.transaction_id,
        defaults={
            **_mutable_fields(bought),
            "original_transaction_id": bought.original_transaction_id,
            "product_id": bought.product_id,
            "type": bought.type,
            "is_renewal": bought.is_renewal,
            "is_family_shared": bought.is_family_shared,
            "quantity": bought.quantity,
            "app_transaction_id": bought.app_transaction_id,
            "price_milliunits": bought.price_milliunits,
            "offer_type": bought.offer_type,
            "offer_discount_type": bought.offer_discount_type,
            "offer_identifier": bought.offer_identifier,
            "currency": bought.currency,
            "storefront": bought.storefront,
            "purchased_at": bought.purchased_at,
            "recorded_at": now,
            "due_at": now + SYNC_GRACE,
        },
    )
    if is_new:
        logger.info("purchase_recorded", environment=bought.environment, product=bought.product_id)
        return purchase
    changes = {
        name: value
        for name, value in _mutable_fields(bought).items()
        if getattr(purchase, name) != value
    }
    if changes and bought.signed_at >= purchase.signed_at:
        for name, value in changes.items():
            setattr(purchase, name, value)
        purchase.due_at, purchase.tries = now + SYNC_GRACE, 0
        purchase.save(update_fields=[*changes, "due_at", "tries"])
    return purchase


def _mutable_fields(bought: Transaction) -> dict[str, object]:
    """What may be different the next time that Apple signs it."""
    return {
        "signed_at": bought.signed_at,
        "app_account_token": bought.app_account_token,
        "expires_at": bought.expires_at,
        "revoked_at": bought.revoked_at,
        "revoked_share": bought.revoked_share,
    }


@transaction.atomic
def sync_ledger(purchase_id: UUID, *, now: datetime, claimant_id: UUID | None = None) -> SyncResult:
    """Make the ledger agree with the purchase, and say how it stands.

    Joins the caller's transaction or opens its own. `claimant_id` is the user whose phone holds it:
    it is theirs unless it is somebody else's already, or names somebody else.
    """
    found = Purchase.objects.get(id=purchase_id)
    named = found.user_id or _resolve_owner(found) or claimant_id
    owner = lock_owner(named) if named else None
    purchase = lock_purchase(found)
    if _ownership_changed(purchase, found, owner):
        # Between the two reads. It stays due; nothing is ours to do.
        return SyncResult(purchase, purchase.user, is_new=False, balance=0)
    product = Product.objects.filter(product_id=purchase.product_id).first()
    is_new = _grant_if_due(purchase, owner, product, now=now)
    grants.sync_clawback(purchase, product, now=now)
    # A debt may be paid without anything happening to this purchase.
    purchase.due_at = (
        now + DEBT_RECHECK_INTERVAL
        if purchase.pending_reason == PendingReason.RELATED_DEBT
        else None
    )
    purchase.save(
        update_fields=["pending_reason", "credits", "granted_at", "clawed_back_share", "due_at"]
    )
    if purchase.user_id and periods.is_period(purchase):
        subscriptions.sync_subscription(purchase, now=now)
        if is_new:
            _schedule_other_owners(purchase, now=now)
    if is_new and owner and purchase.app_transaction_id:
        of, value = account_services.PersonKeyKind.APP_TRANSACTION, purchase.app_transaction_id
        account_services.link_person(user_id=owner.id, of=of, value=value, now=now)
    if owner and purchase.revoked_share and not owner.closed_at:
        fraud.update_score(owner.id, now=now)
    balance = credit_services.balance_of(owner.id).balance if owner else 0
    return SyncResult(purchase, owner, is_new=is_new, balance=balance)


def _resolve_owner(purchase: Purchase) -> UUID | None:
    """Whom Apple's token names, else whose the subscription has been so far. So it is too where the
    one who is named has left, and support gave an earlier period to somebody."""
    token, subscriber_id = purchase.app_account_token, periods.find_subscriber(purchase)
    if token and subscriber_id:
        return subscriber_id if _is_closed(token) else token
    return token or subscriber_id


def _is_closed(user_id: UUID) -> bool:
    """A guest who became part of an account has left where the account has."""
    has_left = Q(closed_at__isnull=False, wallet__merged_into=None)
    has_left |= Q(wallet__merged_into__user__closed_at__isnull=False)
    return User.objects.filter(has_left, id=user_id).exists()


def _grant_if_due(
    purchase: Purchase, owner: User | None, product: Product | None, *, now: datetime
) -> bool:
    """Whether its credits came by this; else the purchase says what they wait for, if they do."""
    if purchase.granted_at:
        return False
    review_reason = purchase.pending_reason if purchase.pending_reason in NEEDS_REVIEW else ""
    purchase.pending_reason = _find_pending_reason(purchase, owner, product)
    if purchase.pending_reason or owner is None or owner.closed_at:
        return False
    if purchase.user_id is None:
        purchase.user = owner
        purchase.save(update_fields=["user"])
    if purchase.is_refunded or product is None:
        grants.claw_back_upgraded_period(purchase, now=now)
        return False
    purchase.pending_reason = _find_review_reason(
        purchase, owner, review_reason=review_reason, now=now
    )
    if purchase.pending_reason:
        return False
    grants.grant(purchase, owner, product, now=now)
    return True


def _find_review_reason(
    purchase: Purchase, owner: User, *, review_reason: str, now: datetime
) -> str:
    """Why it waits for a person; "" where it does not. Once it waits, only a person lets it
    through, unless it waits for a debt that is paid."""
    if purchase.released_at or purchase.is_family_shared:
        return ""
    if review_reason and review_reason != PendingReason.RELATED_DEBT:
        return review_reason
    if parental_consent.is_without_consent(purchase):
        return PendingReason.CONSENT_WITHDRAWN
    if fraud.requires_review(owner.id, now=now):
        return PendingReason.FRAUD_REVIEW
    return PendingReason.RELATED_DEBT if fraud.has_related_debt(owner.id) else ""


def _ownership_changed(purchase: Purchase, found: Purchase, owner: User | None) -> bool:
    if purchase.user_id:  # after a merge that we waited for it is the account, and so is the owner
        return owner is None or purchase.user_id != owner.id
    return purchase.app_account_token != found.app_account_token


def lock_owner(user_id: UUID) -> User | None:
    """The user, or the account that this guest became, with the wallet locked until the transaction
    ends; None for whoever has none."""
    try:
        wallet = credit_services.lock_wallet(user_id=user_id, through_merge=True)
    except NotFound:
        return None
    return User.objects.get(wallet=wallet)


def lock_expected_owner(purchase: Purchase) -> User | None:
    """Whose a purchase is, or will be once it is settled, with the wallet locked as by
    `lock_owner`; None where it names nobody of ours."""
    named = purchase.user_id or _resolve_owner(purchase)
    return lock_owner(named) if named else None


def lock_purchase(purchase: Purchase) -> Purchase:
    """The purchase as it is now, locked until the transaction ends; its owner's wallet is locked
    already, if it has one.

    A period's subscription is locked before it: two users may have periods of one subscription, and
    each of them then makes the other's due (_follow_of_others).
    """
    if periods.is_period(purchase):
        subscriptions.lock_subscription(purchase)
    return Purchase.objects.select_for_update().get(id=purchase.id)


def _schedule_other_owners(purchase: Purchase, *, now: datetime) -> None:
    """The subscription has gone to another user: what that means for the one before is settled by
    itself, under their own wallet's lock."""
    others = periods.periods_of_subscription(purchase).exclude(user=purchase.user)
    others.update(due_at=now, tries=0)


def _find_pending_reason(
    purchase: Purchase, owner: User | None, product: Product | None
) -> PendingReason | str:
    if purchase.is_refunded:
        return ""  # nobody paid for it in the end: no work
    if product is None or purchase.type != _APPLE_TYPES[ProductKind(product.kind)]:
        return PendingReason.UNKNOWN_PRODUCT
    if owner is None:
        return PendingReason.NO_OWNER
    return PendingReason.ACCOUNT_CLOSED if owner.closed_at else ""


_APPLE_TYPES = {
    ProductKind.CONSUMABLE: payloads.CONSUMABLE,
    ProductKind.SUBSCRIPTION: payloads.SUBSCRIPTION,
}
