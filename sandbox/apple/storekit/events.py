"""What can happen to a purchase, by the type and subtype of the notification that tells of it.

Each function makes it come to pass, so that the API says the same as the notification. It gives the
transaction that the notification is about: a renewal's is another than the one that was renewed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.apple.storekit.offers import OFFER, read_offer, read_price
from sandbox.apple.storekit.payloads import WHOLE, Transaction
from sandbox.apple.storekit.store import Store, Subscription
from sandbox.strict_body import BadRequest, StrictBody
from sandbox.times import DAY_MILLISECONDS

GRACE_MILLISECONDS = 16 * DAY_MILLISECONDS
VOLUNTARY, BILLING_ERROR, PRICE_REFUSED, NOT_FOR_SALE, OTHER = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Happening:
    """One occasion: what it is about, when it is, and what the caller said of it."""

    store: Store
    transaction: Transaction
    at: int
    fields: StrictBody

    @property
    def subscription(self) -> Subscription:
        found = self.store.find_subscription(self.transaction)
        if found is None:
            raise BadRequest(f"{self.transaction.transaction_id} is of no subscription.")
        return found


Effect = Callable[[Happening], Transaction]


def nothing(now: Happening) -> Transaction:
    """Told, and nothing else."""
    return now.transaction


# --- Refunds ----------------------------------------------------------------------------------


def refund(now: Happening) -> Transaction:
    percentage = now.fields.find_count("revocation_percentage", minimum=0, maximum=WHOLE)
    reason = now.fields.find_count("revocation_reason", minimum=0, maximum=1)
    is_whole = percentage in (None, WHOLE)
    now.transaction.revoke(
        at=now.at,
        kind="REFUND_FULL" if is_whole else "REFUND_PRORATED",
        percentage=WHOLE if percentage is None else percentage,
        reason=reason or 0,
    )
    return now.transaction


def reverse_refund(now: Happening) -> Transaction:
    now.transaction.restore()
    return now.transaction


def revoke(now: Happening) -> Transaction:
    """Family Sharing has ended."""
    now.transaction.revoke(at=now.at, kind="FAMILY_REVOKE", percentage=WHOLE, reason=0)
    return now.transaction


# --- Subscriptions ----------------------------------------------------------------------------


def renew(now: Happening) -> Transaction:
    """From the end of the last period on, as Apple does also when it charges a day early."""
    return _renew(now, purchased_at=now.subscription.latest.expires_date or now.at)


def recover(now: Happening) -> Transaction:
    """The card was charged at last: the new period begins with that."""
    return _renew(now, purchased_at=now.at)


def _renew(now: Happening, *, purchased_at: int) -> Transaction:
    subscription = now.subscription
    renewal = subscription.renewal
    renewal.auto_renew_status = 1
    renewal.expiration_intent = renewal.grace_period_expires_date = None
    renewal.is_in_billing_retry_period = None
    return now.store.extend(
        subscription,
        purchased_at=purchased_at,
        product_id=renewal.auto_renew_product_id,
        transaction_reason="RENEWAL",
        **_read_terms(now.fields, usual=renewal.renewal_price),
    )


def fail_to_renew(now: Happening) -> Transaction:
    subscription = now.subscription
    subscription.end_period(now.at)
    subscription.renewal.expiration_intent = BILLING_ERROR
    subscription.renewal.is_in_billing_retry_period = True
    return subscription.latest


def begin_grace_period(now: Happening) -> Transaction:
    given = now.fields.find_milliseconds("grace_period_expires_date")
    expired = fail_to_renew(now)
    now.subscription.renewal.grace_period_expires_date = given or now.at + GRACE_MILLISECONDS
    return expired


def end_grace_period(now: Happening) -> Transaction:
    now.subscription.renewal.grace_period_expires_date = now.at
    return now.subscription.latest


def expire(intent: int) -> Effect:
    def effect(now: Happening) -> Transaction:
        subscription = now.subscription
        subscription.end_period(now.at)
        renewal = subscription.renewal
        renewal.auto_renew_status = 0
        renewal.expiration_intent = intent
        renewal.is_in_billing_retry_period = False
        renewal.grace_period_expires_date = None
        return subscription.latest

    return effect


def turn_auto_renew(status: int) -> Effect:
    def effect(now: Happening) -> Transaction:
        now.subscription.renewal.auto_renew_status = status
        return now.subscription.latest

    return effect


def upgrade(now: Happening) -> Transaction:
    """At once: a new period of another product, and the old transaction is superseded."""
    subscription = now.subscription
    _choose(now)
    subscription.latest.is_upgraded = True
    now.store.touch(subscription.latest)
    return now.store.extend(
        subscription,
        purchased_at=now.at,
        product_id=subscription.renewal.auto_renew_product_id,
        transaction_reason="PURCHASE",
        **_read_terms(now.fields, usual=subscription.renewal.renewal_price),
    )


def downgrade(now: Happening) -> Transaction:
    """At the end of the period: until then only the renewal says so."""
    _choose(now)
    return now.subscription.latest


def undo_downgrade(now: Happening) -> Transaction:
    subscription = now.subscription
    subscription.renewal.auto_renew_product_id = subscription.latest.product_id
    subscription.renewal.renewal_price = subscription.latest.price
    return subscription.latest


def increase_price(status: int) -> Effect:
    def effect(now: Happening) -> Transaction:
        renewal = now.subscription.renewal
        price = now.fields.find_price("price")
        renewal.price_increase_status = status
        renewal.renewal_price = renewal.renewal_price if price is None else price
        return now.subscription.latest

    return effect


def extend_period(now: Happening) -> Transaction:
    expires_at = now.fields.find_milliseconds("expires_date")
    if expires_at is None:
        raise BadRequest("expires_date is missing.")
    subscription = now.subscription
    subscription.latest.expires_date = subscription.renewal.renewal_date = expires_at
    return subscription.latest


def _read_terms(fields: StrictBody, *, usual: int) -> dict[str, Any]:
    """The price of a further period, and the offer that it is made with, if any."""
    offer = read_offer(fields)
    return {"price": read_price(fields, offer, usual=usual), **offer}


def _choose(now: Happening) -> None:
    """Set what will be renewed, and for how much. A price beside an offer is the offer's alone."""
    product_id, price = now.fields.get_text("product_id"), now.fields.find_price("price")
    renewal = now.subscription.renewal
    renewal.auto_renew_product_id = product_id
    if price is not None and not now.fields.has("offer_type"):
        renewal.renewal_price = price


@dataclass(frozen=True)
class Kind:
    """What one type and subtype does, and the fields of the control that it reads for it."""

    effect: Effect
    reads: tuple[str, ...] = ()


TERMS = ("price", *OFFER)
CHOICE = ("product_id", "price")
UPGRADE = ("product_id", *TERMS)

KINDS = {
    ("ONE_TIME_CHARGE", None): Kind(nothing),
    ("REFUND", None): Kind(refund, ("revocation_percentage", "revocation_reason")),
    ("REFUND_REVERSED", None): Kind(reverse_refund),
    ("REFUND_DECLINED", None): Kind(nothing),
    ("CONSUMPTION_REQUEST", None): Kind(nothing, ("consumption_request_reason",)),
    ("REVOKE", None): Kind(revoke),
    ("SUBSCRIBED", "INITIAL_BUY"): Kind(nothing),
    ("SUBSCRIBED", "RESUBSCRIBE"): Kind(nothing),
    ("DID_RENEW", None): Kind(renew, TERMS),
    ("DID_RENEW", "BILLING_RECOVERY"): Kind(recover, TERMS),
    ("DID_FAIL_TO_RENEW", None): Kind(fail_to_renew),
    ("DID_FAIL_TO_RENEW", "GRACE_PERIOD"): Kind(begin_grace_period, ("grace_period_expires_date",)),
    ("GRACE_PERIOD_EXPIRED", None): Kind(end_grace_period),
    ("EXPIRED", "VOLUNTARY"): Kind(expire(VOLUNTARY)),
    ("EXPIRED", "BILLING_RETRY"): Kind(expire(BILLING_ERROR)),
    ("EXPIRED", "PRICE_INCREASE"): Kind(expire(PRICE_REFUSED)),
    ("EXPIRED", "PRODUCT_NOT_FOR_SALE"): Kind(expire(NOT_FOR_SALE)),
    ("EXPIRED", None): Kind(expire(OTHER)),
    ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED"): Kind(turn_auto_renew(1)),
    ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED"): Kind(turn_auto_renew(0)),
    ("DID_CHANGE_RENEWAL_PREF", "UPGRADE"): Kind(upgrade, UPGRADE),
    ("DID_CHANGE_RENEWAL_PREF", "DOWNGRADE"): Kind(downgrade, CHOICE),
    ("DID_CHANGE_RENEWAL_PREF", None): Kind(undo_downgrade),
    ("OFFER_REDEEMED", "UPGRADE"): Kind(upgrade, UPGRADE),
    ("OFFER_REDEEMED", "DOWNGRADE"): Kind(downgrade, CHOICE),
    ("OFFER_REDEEMED", None): Kind(nothing),
    ("PRICE_INCREASE", "PENDING"): Kind(increase_price(0), ("price",)),
    ("PRICE_INCREASE", "ACCEPTED"): Kind(increase_price(1), ("price",)),
    ("RENEWAL_EXTENDED", None): Kind(extend_period, ("expires_date",)),
    ("RESCIND_CONSENT", None): Kind(nothing),
}
TEST = "TEST"
TYPES = (*dict.fromkeys(name for name, _ in KINDS), TEST)
