"""What is done about purchases, by topic."""

from __future__ import annotations

from billing.services.assignment import assign_purchase, release_purchase
from billing.services.confirmation import confirm_purchase
from billing.services.consumption import override as override_refund_policy
from billing.services.grants import expected_credits
from billing.services.notifications import apply_again, receive
from billing.services.periods import is_period
from billing.services.products import offered
from billing.services.purchases import (
    Settled,
    expected_owner,
    locked_owner,
    record,
    settle,
)
from billing.services.unreadable import dismiss as dismiss_payload

__all__ = [
    "Settled",
    "apply_again",
    "assign_purchase",
    "confirm_purchase",
    "dismiss_payload",
    "expected_credits",
    "expected_owner",
    "is_period",
    "locked_owner",
    "offered",
    "override_refund_policy",
    "receive",
    "record",
    "release_purchase",
    "settle",
]
