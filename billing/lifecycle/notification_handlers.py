"""The effect of each type of notification, or the reason why it is ignored.

Apple, "notificationType": https://developer.apple.com/documentation/appstoreservernotifications. A
handler applies a state as of when it was signed, so it may run twice, late and in any order. It
returns the outcome in words for support.
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
    """The notification is stored and acknowledged, nothing else; `reason` says why."""

    reason: str


Handler = Callable[[DecodedNotification, datetime], str]


def handle(notification: DecodedNotification, *, now: datetime) -> str:
    """Run the handler of the notification's type; return the outcome."""
    handler = HANDLERS.get(notification.type, UNKNOWN_TYPE)
    return handler.reason if isinstance(handler, Ignored) else handler(notification, now)


def on_transaction(notification: DecodedNotification, now: datetime) -> str:
    """Update the purchase from the transaction, and its subscription from the renewal info."""
    return _sync(notification, notification.transaction, now=now)


def on_refund(notification: DecodedNotification, now: datetime) -> str:
    """Claw back the share that the transaction names; all of it if it names none."""
    transaction = notification.transaction
    if transaction and not transaction.revoked_at:
        transaction = replace(
            transaction, revoked_at=notification.signed_at, revoked_share=FULL_SHARE
        )
    return _sync(notification, transaction, now=now)


def on_refund_reversed(notification: DecodedNotification, now: datetime) -> str:
    """Restore the clawed back credits."""
    transaction = notification.transaction
    restored = transaction and replace(transaction, revoked_at=None, revoked_share=0)
    return _sync(notification, restored, now=now)


def on_consumption_request(notification: DecodedNotification, now: datetime) -> str:
    """Schedule an answer to Apple (lifecycle.consumption)."""
    outcome = _sync(notification, notification.transaction, now=now)
    if notification.transaction:
        consumption.upsert_request(notification, now=now)
        outcome += "; an answer is due"
    return outcome


def on_consent_withdrawn(notification: DecodedNotification, now: datetime) -> str:
    """Later purchases of the child's Apple account await review."""
    if not notification.app_transaction_id:
        return "names no Apple account"
    parental_consent.withdraw_consent(
        app_transaction_id=notification.app_transaction_id, withdrawn_at=notification.signed_at
    )
    return "later purchases await review"


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
        return f"pending: {result.purchase.get_pending_reason_display()}"
    if result.purchase.revoked_share:
        return f"refunded {result.purchase.revoked_share / 1000:g} %"
    return "granted" if result.is_new else "no change"


UNKNOWN_TYPE = Ignored("unknown type")
HANDLERS: dict[str, Handler | Ignored] = {
    "ONE_TIME_CHARGE": on_transaction,
    # A period began, failed to begin, or ended, or the next one changed. The transaction and the
    # renewal info say everything; the type adds nothing.
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
    "RENEWAL_EXTENSION": Ignored("a notification follows for each extended subscription"),
    "REFUND": on_refund,
    "REFUND_REVERSED": on_refund_reversed,
    # Family Sharing ended: like a full refund.
    "REVOKE": on_refund,
    "CONSUMPTION_REQUEST": on_consumption_request,
    "REFUND_DECLINED": Ignored("no credits were clawed back for the request"),
    "RESCIND_CONSENT": on_consent_withdrawn,
    "TEST": Ignored("test notification received"),
    "EXTERNAL_PURCHASE_TOKEN": Ignored("we sell only through the App Store"),
    "METADATA_UPDATE": Ignored("product texts are in App Store Connect"),
    "PRICE_CHANGE": Ignored("each purchase has its own price"),
    "MIGRATION": Ignored("we never move products between apps"),
}
