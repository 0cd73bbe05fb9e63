"""Events of purchases, by the type and subtype of their notification.

Each function applies an event, so that the API and the notification agree. It returns the
transaction of the notification: for a renewal that is the new transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.apple.storekit.offers import OFFER_FIELDS, parse_offer, parse_price
from sandbox.apple.storekit.payloads import FULL_PERCENTAGE, Transaction
from sandbox.apple.storekit.store import Store, Subscription
from sandbox.strict_body import BadRequest, StrictBody
from sandbox.times import DAY_MILLISECONDS

GRACE_MILLISECONDS = 16 * DAY_MILLISECONDS
VOLUNTARY, BILLING_ERROR, PRICE_INCREASE_DECLINED, NOT_FOR_SALE, OTHER = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Event:
    """One event: its transaction, time and control fields."""

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


Effect = Callable[[Event], Transaction]


def no_effect(event: Event) -> Transaction:
    """Only send the notification."""
    return event.transaction


# --- Refunds ----------------------------------------------------------------------------------


def refund(event: Event) -> Transaction:
    percentage = event.fields.find_count(
        "revocation_percentage", minimum=0, maximum=FULL_PERCENTAGE
    )
    reason = event.fields.find_count("revocation_reason", minimum=0, maximum=1)
    is_whole = percentage in (None, FULL_PERCENTAGE)
    event.transaction.revoke(
        at=event.at,
        kind="REFUND_FULL" if is_whole else "REFUND_PRORATED",
        percentage=FULL_PERCENTAGE if percentage is None else percentage,
        reason=reason or 0,
    )
    return event.transaction


def reverse_refund(event: Event) -> Transaction:
    event.transaction.restore()
    return event.transaction


def revoke(event: Event) -> Transaction:
    """Revoke the purchase because Family Sharing has ended."""
    event.transaction.revoke(
        at=event.at, kind="FAMILY_REVOKE", percentage=FULL_PERCENTAGE, reason=0
    )
    return event.transaction


# --- Subscriptions ----------------------------------------------------------------------------


def renew(event: Event) -> Transaction:
    """Renew from the end of the last period, as Apple does even if it charges a day early."""
    return _renew(event, purchased_at=event.subscription.latest.expires_date or event.at)


def recover(event: Event) -> Transaction:
    """Renew from now, because the card was charged after a billing retry."""
    return _renew(event, purchased_at=event.at)


def _renew(event: Event, *, purchased_at: int) -> Transaction:
    subscription = event.subscription
    renewal = subscription.renewal
    renewal.auto_renew_status = 1
    renewal.expiration_intent = renewal.grace_period_expires_date = None
    renewal.is_in_billing_retry_period = None
    return event.store.extend(
        subscription,
        purchased_at=purchased_at,
        product_id=renewal.auto_renew_product_id,
        transaction_reason="RENEWAL",
        **_parse_terms(event.fields, default=renewal.renewal_price),
    )


def fail_to_renew(event: Event) -> Transaction:
    subscription = event.subscription
    subscription.end_period(event.at)
    subscription.renewal.expiration_intent = BILLING_ERROR
    subscription.renewal.is_in_billing_retry_period = True
    return subscription.latest


def begin_grace_period(event: Event) -> Transaction:
    given = event.fields.find_milliseconds("grace_period_expires_date")
    expired = fail_to_renew(event)
    event.subscription.renewal.grace_period_expires_date = given or event.at + GRACE_MILLISECONDS
    return expired


def end_grace_period(event: Event) -> Transaction:
    event.subscription.renewal.grace_period_expires_date = event.at
    return event.subscription.latest


def expire(intent: int) -> Effect:
    def effect(event: Event) -> Transaction:
        subscription = event.subscription
        subscription.end_period(event.at)
        renewal = subscription.renewal
        renewal.auto_renew_status = 0
        renewal.expiration_intent = intent
        renewal.is_in_billing_retry_period = False
        renewal.grace_period_expires_date = None
        return subscription.latest

    return effect


def set_auto_renew(status: int) -> Effect:
    def effect(event: Event) -> Transaction:
        event.subscription.renewal.auto_renew_status = status
        return event.subscription.latest

    return effect


def upgrade(event: Event) -> Transaction:
    """Upgrade now: start a period of another product, and supersede the old transaction."""
    subscription = event.subscription
    _set_next_product(event)
    subscription.latest.is_upgraded = True
    event.store.record_change(subscription.latest)
    return event.store.extend(
        subscription,
        purchased_at=event.at,
        product_id=subscription.renewal.auto_renew_product_id,
        transaction_reason="PURCHASE",
        **_parse_terms(event.fields, default=subscription.renewal.renewal_price),
    )


def downgrade(event: Event) -> Transaction:
    """Downgrade at the end of the period. Until then only the renewal info says so."""
    _set_next_product(event)
    return event.subscription.latest


def undo_downgrade(event: Event) -> Transaction:
    subscription = event.subscription
    subscription.renewal.auto_renew_product_id = subscription.latest.product_id
    subscription.renewal.renewal_price = subscription.latest.price
    return subscription.latest


def increase_price(status: int) -> Effect:
    def effect(event: Event) -> Transaction:
        renewal = event.subscription.renewal
        price = event.fields.find_price("price")
        renewal.price_increase_status = status
        renewal.renewal_price = renewal.renewal_price if price is None else price
        return event.subscription.latest

    return effect


def extend_period(event: Event) -> Transaction:
    expires_at = event.fields.find_milliseconds("expires_date")
    if expires_at is None:
        raise BadRequest("expires_date is missing.")
    subscription = event.subscription
    subscription.latest.expires_date = subscription.renewal.renewal_date = expires_at
    return subscription.latest


def _parse_terms(fields: StrictBody, *, default: int) -> dict[str, Any]:
    """Parse the price of a further period and its offer, if any."""
    offer = parse_offer(fields)
    return {"price": parse_price(fields, offer, default=default), **offer}


def _set_next_product(event: Event) -> None:
    """Set the product and price of the next renewal. A price beside an offer applies to the offer
    only."""
    product_id, price = event.fields.get_text("product_id"), event.fields.find_price("price")
    renewal = event.subscription.renewal
    renewal.auto_renew_product_id = product_id
    if price is not None and not event.fields.has("offer_type"):
        renewal.renewal_price = price


@dataclass(frozen=True)
class EventType:
    """The effect of a notification type and subtype, and the control fields that it reads."""

    effect: Effect
    fields: tuple[str, ...] = ()


TERMS = ("price", *OFFER_FIELDS)
CHOICE = ("product_id", "price")
UPGRADE = ("product_id", *TERMS)

EVENT_TYPES = {
    ("ONE_TIME_CHARGE", None): EventType(no_effect),
    ("REFUND", None): EventType(refund, ("revocation_percentage", "revocation_reason")),
    ("REFUND_REVERSED", None): EventType(reverse_refund),
    ("REFUND_DECLINED", None): EventType(no_effect),
    ("CONSUMPTION_REQUEST", None): EventType(no_effect, ("consumption_request_reason",)),
    ("REVOKE", None): EventType(revoke),
    ("SUBSCRIBED", "INITIAL_BUY"): EventType(no_effect),
    ("SUBSCRIBED", "RESUBSCRIBE"): EventType(no_effect),
    ("DID_RENEW", None): EventType(renew, TERMS),
    ("DID_RENEW", "BILLING_RECOVERY"): EventType(recover, TERMS),
    ("DID_FAIL_TO_RENEW", None): EventType(fail_to_renew),
    ("DID_FAIL_TO_RENEW", "GRACE_PERIOD"): EventType(
        begin_grace_period, ("grace_period_expires_date",)
    ),
    ("GRACE_PERIOD_EXPIRED", None): EventType(end_grace_period),
    ("EXPIRED", "VOLUNTARY"): EventType(expire(VOLUNTARY)),
    ("EXPIRED", "BILLING_RETRY"): EventType(expire(BILLING_ERROR)),
    ("EXPIRED", "PRICE_INCREASE"): EventType(expire(PRICE_INCREASE_DECLINED)),
    ("EXPIRED", "PRODUCT_NOT_FOR_SALE"): EventType(expire(NOT_FOR_SALE)),
    ("EXPIRED", None): EventType(expire(OTHER)),
    ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED"): EventType(set_auto_renew(1)),
    ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED"): EventType(set_auto_renew(0)),
    ("DID_CHANGE_RENEWAL_PREF", "UPGRADE"): EventType(upgrade, UPGRADE),
    ("DID_CHANGE_RENEWAL_PREF", "DOWNGRADE"): EventType(downgrade, CHOICE),
    ("DID_CHANGE_RENEWAL_PREF", None): EventType(undo_downgrade),
    ("OFFER_REDEEMED", "UPGRADE"): EventType(upgrade, UPGRADE),
    ("OFFER_REDEEMED", "DOWNGRADE"): EventType(downgrade, CHOICE),
    ("OFFER_REDEEMED", None): EventType(no_effect),
    ("PRICE_INCREASE", "PENDING"): EventType(increase_price(0), ("price",)),
    ("PRICE_INCREASE", "ACCEPTED"): EventType(increase_price(1), ("price",)),
    ("RENEWAL_EXTENDED", None): EventType(extend_period, ("expires_date",)),
    ("RESCIND_CONSENT", None): EventType(no_effect),
}
TEST = "TEST"
TYPES = (*dict.fromkeys(name for name, _ in EVENT_TYPES), TEST)
