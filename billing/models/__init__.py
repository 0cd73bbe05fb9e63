"""Products, purchases, subscriptions, and messages of the App Store.

Only billing.services and billing.lifecycle write to these tables. They store Apple's data; the
ledger (credits) stores the use of the credits.
"""

from __future__ import annotations

from billing.models.fraud import FraudScore
from billing.models.notifications import BackfillCursor, BackfillScope, Notification
from billing.models.parental_consent import WithdrawnConsent
from billing.models.purchases import (
    FREE_TRIAL,
    FULL_SHARE,
    NEEDS_REVIEW,
    AppAccountTokenUpdate,
    Environment,
    OfferType,
    PendingReason,
    Product,
    ProductKind,
    Purchase,
    PurchaseQuerySet,
    Rollover,
    UnconfirmedPurchase,
)
from billing.models.refunds import ConsumptionRequest, RefundPolicy
from billing.models.subscriptions import Subscription, SubscriptionState
from billing.models.unreadable import PayloadKind, UnreadablePayload

__all__ = [
    "FREE_TRIAL",
    "FULL_SHARE",
    "NEEDS_REVIEW",
    "AppAccountTokenUpdate",
    "BackfillCursor",
    "BackfillScope",
    "ConsumptionRequest",
    "Environment",
    "FraudScore",
    "Notification",
    "OfferType",
    "PayloadKind",
    "PendingReason",
    "Product",
    "ProductKind",
    "Purchase",
    "PurchaseQuerySet",
    "RefundPolicy",
    "Rollover",
    "Subscription",
    "SubscriptionState",
    "UnconfirmedPurchase",
    "UnreadablePayload",
    "WithdrawnConsent",
]
