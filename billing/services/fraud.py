"""Fraud signals: unusual behaviour of a user, as a score with reasons. Support reads them.

One automatic effect: while the score is at FRAUD_HOLD_SCORE or above, or while a related user is
banned, new purchases await review (PendingReason.FRAUD_REVIEW). A debt of a related user has the
same effect until it is repaid (PendingReason.RELATED_DEBT). The purchase is stored and stays the
user's, so no money is lost.

Cost: a few bounded counts on indexes for each purchase.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings

from accounts import queries as account_queries
from billing.models import FraudScore, Purchase
from credits import queries as credit_queries

logger = structlog.get_logger(__name__)

LOOKBACK = timedelta(days=90)
BURST = timedelta(hours=1)
# Counts stop here.
MAX_COUNT = 100
MAX_RELATED = 20


@dataclass(frozen=True)
class FraudSignal:
    """A count, and the points for the part above the usual number."""

    what: str
    count: int
    usual: int
    points: int


def update_score(user_id: UUID, *, now: datetime) -> int:
    """Compute, store and return the user's score. Joins the caller's transaction, which has locked
    the user's wallet.
    """
    signals = [signal for signal in _signals_of(user_id, now=now) if signal.points]
    score = sum(signal.points for signal in signals)
    if not score:
        FraudScore.objects.filter(user_id=user_id).delete()
        return 0
    FraudScore.objects.update_or_create(
        user_id=user_id,
        defaults={
            "score": score,
            "signals": [asdict(signal) for signal in signals],
            "assessed_at": now,
        },
    )
    return score


def requires_review(user_id: UUID, *, now: datetime) -> bool:
    """Return whether this user's purchases await review. Joins the caller's transaction."""
    score = update_score(user_id, now=now)
    needs_review = bool(settings.FRAUD_HOLD_SCORE) and score >= settings.FRAUD_HOLD_SCORE
    needs_review = needs_review or account_queries.has_banned_relative(
        [one for one in _related_users(user_id) if one != user_id]
    )
    if needs_review:
        logger.warning("purchase_held", user_id=str(user_id), score=score)
    return needs_review


def has_related_debt(user_id: UUID) -> bool:
    """Return whether another user of the same customer owes credits: spent, then refunded by the
    store.

    Otherwise a customer could leave each debt behind by buying as a new guest.
    """
    return credit_queries.total_debt([one for one in _related_users(user_id) if one != user_id]) > 0


def _signals_of(user_id: UUID, *, now: datetime) -> list[FraudSignal]:
    """Signals about the user and all others who buy with the same Apple account: a customer who
    reinstalls the app and returns as a new guest is still the same customer.
    """
    related = _related_users(user_id)
    devices = account_queries.count_devices(related, since=now - LOOKBACK, most=MAX_COUNT)
    refunds = credit_queries.count_clawbacks_of_spent_credits(
        related, since=now - LOOKBACK, most=MAX_COUNT
    )
    return [
        _signal("devices of one Apple account", devices, usual=settings.FRAUD_DEVICES, points=10),
        _signal("refunds of what had been spent", refunds, usual=0, points=30),
        _signal(
            "purchases within an hour",
            _count_purchases(related, since=now - BURST),
            usual=settings.FRAUD_PURCHASES_PER_HOUR,
            points=10,
        ),
    ]


def _signal(what: str, count: int, *, usual: int, points: int) -> FraudSignal:
    return FraudSignal(what, count, usual, max(count - usual, 0) * points)


def _related_users(user_id: UUID) -> list[UUID]:
    bought = Purchase.objects.filter(user_id=user_id).exclude(app_transaction_id="")
    accounts = bought.values("app_transaction_id").distinct()[:MAX_RELATED]
    others = Purchase.objects.filter(app_transaction_id__in=accounts, user__isnull=False)
    found = set(others.values_list("user_id", flat=True).distinct()[:MAX_RELATED])
    return [*{user_id, *found, *account_queries.related_user_ids(user_id)}]


def _count_purchases(user_ids: list[UUID], *, since: datetime) -> int:
    """Count by Apple's purchase time, so that purchases that arrive late after an outage are no
    burst. Renewals are left out: Apple makes them automatically.
    """
    recent = Purchase.objects.filter(
        user_id__in=user_ids, purchased_at__gte=since, is_renewal=False
    )
    return recent[:MAX_COUNT].count()
