"""What each type of notification does, or why it does nothing.

Apple, "notificationType": https://developer.apple.com/documentation/appstoreservernotifications.
An effect is told as a state, as of when it was signed, so it may be applied twice, late and in any
order. It returns what came of it, in words for support.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from billing.appstore.payloads import DecodedNotification, Transaction
from billing.models import FULL_SHARE
from billing.services import consumption, parental_consent, purchases, subscriptions
from billing.services.purchases import SyncResult


@dataclass(frozen=True)
class Ignored:
    """Stored and answered, and that is all; `reason` is why."""

    reason: str


Handler = Callable[[DecodedNotification, datetime], str]


def handle(notification: DecodedNotification, *, now: datetime) -> str:
    """Do what the notification's type says; returns what came of it."""
    handler = HANDLERS.get(notification.type, UNKNOWN_TYPE)
    return handler.reason if isinstance(handler, Ignored) else handler(notification, now)


def on_transaction(notification: DecodedNotification, now: datetime) -> str:
    """The purchase is as the transaction says, and its subscription as the renewal says."""
    return _sync(notification, notification.transaction, now=now)


def on_refund(notification: DecodedNotification, now: datetime) -> str:
    """The share that the transaction names is taken back; all of it where it names none."""
    transaction = notification.transaction
    if transaction and not transaction.revoked_at:
        transaction = replace(
            transaction, revoked_at=notification.signed_at, revoked_share=FULL_SHARE
        )
    return _sync(notification, transaction, now=now)


def on_refund_reversed(notification: DecodedNotification, now: datetime) -> str:
    """What was taken is given back."""
    transaction = notification.transaction
    restored = transaction and replace(transaction, revoked_at=None, revoked_share=0)
    return _sync(notification, restored, now=now)


def on_consumption_request(notification: DecodedNotification, now: datetime) -> str:
    """Apple asks what was used of it, and is told (lifecycle.consumption)."""
    outcome = _sync(notification, notification.transaction, now=now)
    if notification.transaction:
        consumption.upsert_request(notification, now=now)
        outcome += "; an answer is due"
    return outcome


def on_consent_withdrawn(notification: DecodedNotification, now: datetime) -> str:
    """What the child's Apple account buys from then on waits for a person."""
    if not notification.app_transaction_id:
        return "names no Apple account"
    parental_consent.withdraw_consent(
        app_transaction_id=notification.app_transaction_id, withdrawn_at=notification.signed_at
    )
    return "what is bought from now on waits for a person"


def _sync(
    notification: DecodedNotification, transaction: Transaction | None, *, now: datetime
) -> str:
    if transaction is None:
        return "names no transaction"
    if notification.renewal:
        subscriptions.upsert_from_apple(notification.renewal)
    purchase = purchases.upsert_from_apple(transaction, now=now)
    result = purchases.sync_ledger(purchase.id, now=now)
    outcome = _describe(result)
    if subscription := subscriptions.find_for_period(result.purchase):
        outcome += f"; the subscription is {subscription.state_at(now).label.lower()}"
    return outcome


def _describe(result: SyncResult) -> str:
    if result.purchase.pending_reason:
        return f"waits: {result.purchase.get_pending_reason_display()}"
    if result.purchase.revoked_share:
        return f"refunded {result.purchase.revoked_share / 1000:g} %"
    return "granted" if result.is_new else "nothing new"


UNKNOWN_TYPE = Ignored("not a type that we know")
HANDLERS: dict[str, Handler | Ignored] = {
    "ONE_TIME_CHARGE": on_transaction,
    # A period began, failed to, or ended, or something was decided about the next: the transaction
    # and the renewal say so, and these names say no more.
    "SUBSCRIBED": on_transaction,
    "DID_RENEW": on_transaction,
    "OFFER_REDEEMED": on_transaction,
    "DID_CHANGE_RENEWAL_PREF": on_transaction,
    "DID_CHANGE_RENEWAL_STATUS": on_transaction,
    "DID_FAIL_TO_RENEW": on_transaction,
    "GRACE_PERIOD_EXPIRED": on_transaction,
    "EXPIRED": on_transaction,
    "PRICE_INCREASE": on_transaction,
    "RENEWAL_EXTENDED": on_transaction,
    "RENEWAL_EXTENSION": Ignored("each subscription that was extended is told of by itself"),
    "REFUND": on_refund,
    "REFUND_REVERSED": on_refund_reversed,
    # Family Sharing ended: what came by it goes, like a refund of all of it.
    "REVOKE": on_refund,
    "CONSUMPTION_REQUEST": on_consumption_request,
    "REFUND_DECLINED": Ignored("nothing was taken for the request, so nothing comes back"),
    "RESCIND_CONSENT": on_consent_withdrawn,
    "TEST": Ignored("it has arrived, and that is what it tests"),
    "EXTERNAL_PURCHASE_TOKEN": Ignored("we sell through the App Store alone"),
    "METADATA_UPDATE": Ignored("product texts are kept in App Store Connect"),
    "PRICE_CHANGE": Ignored("each purchase brings its own price"),
    "MIGRATION": Ignored("products are never moved between apps here"),
}
