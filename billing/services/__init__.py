"""Every write to purchases and subscriptions, by topic."""

from __future__ import annotations

from billing.services.assignment import (
    assign_purchase,
    lock_new_owner,
    release_purchase,
    require_awaiting_review,
    require_ownerless,
)
from billing.services.confirmation import confirm_purchase
from billing.services.consumption import override_refund_policy
from billing.services.grants import expected_credits
from billing.services.notifications import receive, reprocess_notification
from billing.services.periods import is_period
from billing.services.purchases import (
    SyncResult,
    lock_expected_owner,
    on_product_saved,
    sync_ledger,
    upsert_from_apple,
)
from billing.services.unreadable import dismiss_payload

__all__ = [
    "SyncResult",
    "assign_purchase",
    "confirm_purchase",
    "dismiss_payload",
    "expected_credits",
    "is_period",
    "lock_expected_owner",
    "lock_new_owner",
    "on_product_saved",
    "override_refund_policy",
    "receive",
    "release_purchase",
    "reprocess_notification",
    "require_awaiting_review",
    "require_ownerless",
    "sync_ledger",
    "upsert_from_apple",
]
