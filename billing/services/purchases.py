"""Purchases: store Apple's data, then make the ledger agree with them.

Guarantee: a transaction is granted once, and the refunded share is clawed back, no more and no
less. Both follow from the row alone: `upsert_from_apple` stores what Apple signed last (not what
arrived last); `sync_ledger` makes the ledger agree with it. Callers, repetition and order make no
difference. A crash between the two leaves a due row.

Lock order: the wallet, the subscription if the purchase is one of its periods, the purchase
(docs/architecture.md).
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
from billing.due_work import SYNC_PURCHASES
from billing.models import NEEDS_REVIEW, PendingReason, Product, ProductKind, Purchase
from billing.services import fraud, grants, parental_consent, periods, subscriptions
from credits import services as credit_services
from rendio.common.errors import NotFound

logger = structlog.get_logger(__name__)

# The caller of upsert_from_apple syncs within this time; afterwards a worker does.
SYNC_GRACE = timedelta(seconds=30)
# How often a purchase that waits for a related user's debt is checked again.
DEBT_RECHECK_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True)
class SyncResult:
    """The purchase after a sync. `is_new`: this call granted the credits."""

    purchase: Purchase
    owner: User | None
    is_new: bool
    balance: int


@transaction.atomic(durable=True)
def upsert_from_apple(apple_transaction: Transaction, *, now: datetime) -> Purchase:
    """Store Apple's data and make the purchase due. Data older than the stored one changes
    nothing.
    """
    purchase, is_new = Purchase.objects.select_for_update().get_or_create(
        environment=apple_transaction.environment,
        transaction_id=apple_transaction.transaction_id,
        defaults={
            **_mutable_fields(apple_transaction),
            "original_transaction_id": apple_transaction.original_transaction_id,
            "product_id": apple_transaction.product_id,
            "type": apple_transaction.type,
            "is_renewal": apple_transaction.is_renewal,
            "is_family_shared": apple_transaction.is_family_shared,
            "quantity": apple_transaction.quantity,
            "app_transaction_id": apple_transaction.app_transaction_id,
            "price_milliunits": apple_transaction.price_milliunits,
            "offer_type": apple_transaction.offer_type,
            "offer_discount_type": apple_transaction.offer_discount_type,
            "offer_identifier": apple_transaction.offer_identifier,
            "currency": apple_transaction.currency,
            "storefront": apple_transaction.storefront,
            "purchased_at": apple_transaction.purchased_at,
            "recorded_at": now,
            "due_at": now + SYNC_GRACE,
        },
    )
    if is_new:
        logger.info(
            "purchase_recorded",
            environment=apple_transaction.environment,
            product=apple_transaction.product_id,
        )
        return purchase
    changes = {
        name: value
        for name, value in _mutable_fields(apple_transaction).items()
        if getattr(purchase, name) != value
    }
    if changes and apple_transaction.signed_at >= purchase.signed_at:
        for name, value in changes.items():
            setattr(purchase, name, value)
        purchase.due_at, purchase.tries = now + SYNC_GRACE, 0
        purchase.save(update_fields=[*changes, "due_at", "tries"])
    return purchase


def _mutable_fields(apple_transaction: Transaction) -> dict[str, object]:
    """The fields that may differ the next time that Apple signs the transaction."""
    return {
        "signed_at": apple_transaction.signed_at,
        "app_account_token": apple_transaction.app_account_token,
        "expires_at": apple_transaction.expires_at,
        "revoked_at": apple_transaction.revoked_at,
        "revoked_share": apple_transaction.revoked_share,
    }


@transaction.atomic
def sync_ledger(purchase_id: UUID, *, now: datetime, claimant_id: UUID | None = None) -> SyncResult:
    """Make the ledger agree with the purchase; return the result.

    Joins the caller's transaction or opens its own. `claimant_id`: the user whose phone named the
    transaction, who becomes the owner unless the purchase has one or names one.
    """
    found = Purchase.objects.get(id=purchase_id)
    named = found.user_id or _resolve_owner(found) or claimant_id
    owner = lock_owner(named) if named else None
    purchase = lock_purchase(found)
    if _ownership_changed(purchase, found, owner):
        # The owner changed between the two reads. The purchase stays due.
        return SyncResult(purchase, purchase.user, is_new=False, balance=0)
    product = Product.objects.filter(product_id=purchase.product_id).first()
    is_new = _grant_if_due(purchase, owner, product, now=now)
    grants.sync_clawback(purchase, product, now=now)
    # A repaid debt does not touch this purchase, so the purchase is checked again later.
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
    """Return the user in Apple's token, else the subscriber so far. The subscriber also counts if
    the user in the token has left, and support assigned an earlier period to somebody.
    """
    token, subscriber_id = purchase.app_account_token, periods.find_subscriber(purchase)
    if token and subscriber_id:
        return subscriber_id if _is_closed(token) else token
    return token or subscriber_id


def _is_closed(user_id: UUID) -> bool:
    """A merged guest has left when the account has."""
    has_left = Q(closed_at__isnull=False, wallet__merged_into=None)
    has_left |= Q(wallet__merged_into__user__closed_at__isnull=False)
    return User.objects.filter(has_left, id=user_id).exists()


def _grant_if_due(
    purchase: Purchase, owner: User | None, product: Product | None, *, now: datetime
) -> bool:
    """Grant the credits if possible, otherwise store the pending reason; return whether
    they were granted.
    """
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
    """Return why the purchase awaits review, or "". Once it does, only staff can release it, except
    that a repaid debt releases it too.
    """
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
    if purchase.user_id:  # after a merge that we waited for, both are the account
        return owner is None or purchase.user_id != owner.id
    return purchase.app_account_token != found.app_account_token


def on_product_saved(product: Product, *, now: datetime) -> None:
    """Schedule purchases that were waiting for this product. Joins the caller's transaction."""
    Purchase.objects.filter(
        pending_reason=PendingReason.UNKNOWN_PRODUCT, product_id=product.product_id
    ).update(due_at=now, tries=0)
    SYNC_PURCHASES.wake_workers()


def lock_owner(user_id: UUID) -> User | None:
    """Return the user, or the account that the guest was merged into, with the wallet locked until
    the transaction ends. None if there is no wallet.
    """
    try:
        wallet = credit_services.lock_wallet(user_id=user_id, through_merge=True)
    except NotFound:
        return None
    return User.objects.get(wallet=wallet)


def lock_expected_owner(purchase: Purchase) -> User | None:
    """Return the current or expected owner of a purchase, with the wallet locked as by
    `lock_owner`. None if the purchase names none of our users.
    """
    named = purchase.user_id or _resolve_owner(purchase)
    return lock_owner(named) if named else None


def lock_purchase(purchase: Purchase) -> Purchase:
    """Return the current state of the purchase, locked until the transaction ends. The caller has
    locked its owner's wallet, if there is one.

    A period's subscription is locked first: two users may have periods of one subscription, and a
    change of one makes the other's due (_schedule_other_owners).
    """
    if periods.is_period(purchase):
        subscriptions.lock_subscription(purchase)
    return Purchase.objects.select_for_update().get(id=purchase.id)


def _schedule_other_owners(purchase: Purchase, *, now: datetime) -> None:
    """The subscription now belongs to another user: make the periods of earlier owners due, to be
    synced under their own wallets' locks.
    """
    others = periods.periods_of_subscription(purchase).exclude(user=purchase.user)
    others.update(due_at=now, tries=0)


def _find_pending_reason(
    purchase: Purchase, owner: User | None, product: Product | None
) -> PendingReason | str:
    if purchase.is_refunded:
        return ""  # refunded before it was granted: nothing to do
    if product is None or purchase.type != _APPLE_TYPES[ProductKind(product.kind)]:
        return PendingReason.UNKNOWN_PRODUCT
    if owner is None:
        return PendingReason.NO_OWNER
    return PendingReason.ACCOUNT_CLOSED if owner.closed_at else ""


_APPLE_TYPES = {
    ProductKind.CONSUMABLE: payloads.CONSUMABLE,
    ProductKind.SUBSCRIPTION: payloads.SUBSCRIPTION,
}
