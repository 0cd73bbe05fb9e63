"""What each type of notification does, or why it does nothing.

Apple, "notificationType": https://developer.apple.com/documentation/appstoreservernotifications.
An effect is told as a state, as of when it was signed, so it may be applied twice, late and in any
order. It returns what came of it, in words for support.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from billing.appstore.payloads import Notice, Transaction
from billing.models import FULL_SHARE
from billing.services import consumption, parental_consent, purchases, subscriptions
from billing.services.purchases import SyncResult


@dataclass(frozen=True)
class NoEffect:
    """Stored and answered, and that is all; `reason` is why."""

    reason: str


Effect = Callable[[Notice, datetime], str]


def apply(notice: Notice, *, now: datetime) -> str:
    """Do what the notification's type says; returns what came of it."""
    effect = EFFECTS.get(notice.type, NOT_KNOWN)
    return effect.reason if isinstance(effect, NoEffect) else effect(notice, now)


def bought(notice: Notice, now: datetime) -> str:
    """The purchase is as the transaction says, and its subscription as the renewal says."""
    return _settle(notice, notice.transaction, now=now)


def refunded(notice: Notice, now: datetime) -> str:
    """The share that the transaction names is taken back; all of it where it names none."""
    transaction = notice.transaction
    if transaction and not transaction.revoked_at:
        transaction = replace(transaction, revoked_at=notice.signed_at, revoked_share=FULL_SHARE)
    return _settle(notice, transaction, now=now)


def refund_reversed(notice: Notice, now: datetime) -> str:
    """What was taken is given back."""
    transaction = notice.transaction
    restored = transaction and replace(transaction, revoked_at=None, revoked_share=0)
    return _settle(notice, restored, now=now)


def refund_asked_for(notice: Notice, now: datetime) -> str:
    """Apple asks what was used of it, and is told (lifecycle.consumption)."""
    outcome = _settle(notice, notice.transaction, now=now)
    if notice.transaction:
        consumption.upsert_request(notice, now=now)
        outcome += "; an answer is due"
    return outcome


def consent_withdrawn(notice: Notice, now: datetime) -> str:
    """What the child's Apple account buys from then on waits for a person."""
    if not notice.app_transaction_id:
        return "names no Apple account"
    parental_consent.withdraw_consent(
        app_transaction_id=notice.app_transaction_id, withdrawn_at=notice.signed_at
    )
    return "what is bought from now on waits for a person"


def _settle(notice: Notice, transaction: Transaction | None, *, now: datetime) -> str:
    if transaction is None:
        return "names no transaction"
    if notice.renewal:
        subscriptions.upsert_from_apple(notice.renewal)
    purchase = purchases.upsert_from_apple(transaction, now=now)
    settled = purchases.sync_ledger(purchase.id, now=now)
    outcome = _in_words(settled)
    if line := subscriptions.find_for_period(settled.purchase):
        outcome += f"; the subscription is {line.state_at(now).label.lower()}"
    return outcome


def _in_words(settled: SyncResult) -> str:
    if settled.purchase.problem:
        return f"waits: {settled.purchase.get_problem_display()}"
    if settled.purchase.revoked_share:
        return f"refunded {settled.purchase.revoked_share / 1000:g} %"
    return "granted" if settled.is_new else "nothing new"


NOT_KNOWN = NoEffect("not a type that we know")
EFFECTS: dict[str, Effect | NoEffect] = {
    "ONE_TIME_CHARGE": bought,
    # A period began, failed to, or ended, or something was decided about the next: the transaction
    # and the renewal say so, and these names say no more.
    "SUBSCRIBED": bought,
    "DID_RENEW": bought,
    "OFFER_REDEEMED": bought,
    "DID_CHANGE_RENEWAL_PREF": bought,
    "DID_CHANGE_RENEWAL_STATUS": bought,
    "DID_FAIL_TO_RENEW": bought,
    "GRACE_PERIOD_EXPIRED": bought,
    "EXPIRED": bought,
    "PRICE_INCREASE": bought,
    "RENEWAL_EXTENDED": bought,
    "RENEWAL_EXTENSION": NoEffect("each subscription that was extended is told of by itself"),
    "REFUND": refunded,
    "REFUND_REVERSED": refund_reversed,
    # Family Sharing ended: what came by it goes, like a refund of all of it.
    "REVOKE": refunded,
    "CONSUMPTION_REQUEST": refund_asked_for,
    "REFUND_DECLINED": NoEffect("nothing was taken for the request, so nothing comes back"),
    "RESCIND_CONSENT": consent_withdrawn,
    "TEST": NoEffect("it has arrived, and that is what it tests"),
    "EXTERNAL_PURCHASE_TOKEN": NoEffect("we sell through the App Store alone"),
    "METADATA_UPDATE": NoEffect("product texts are kept in App Store Connect"),
    "PRICE_CHANGE": NoEffect("each purchase brings its own price"),
    "MIGRATION": NoEffect("products are never moved between apps here"),
}
