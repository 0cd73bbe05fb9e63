"""Statistics of a user for the support API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Count, Q

from accounts.models import User
from credits import queries as credit_queries
from credits import services as credit_services
from generation.models import Job, JobStatus
from rendio.common.errors import NotFound

if TYPE_CHECKING:
    from credits.models import LedgerEntry

RECENT = 20


@dataclass(frozen=True)
class UserStats:
    user: User
    balance: credit_services.Balance | None  # staff have no wallet
    total_jobs: int
    completed_jobs: int
    failed_jobs: int
    recent_entries: list[LedgerEntry]  # newest first

    @property
    def success_rate(self) -> float | None:
        """Completed jobs as a share of completed and failed jobs, 0 to 1. None without either."""
        ended = self.completed_jobs + self.failed_jobs
        return round(self.completed_jobs / ended, 4) if ended else None


def user_stats(user_id: UUID) -> UserStats:
    """The statistics of a user, in four queries. Raises NotFound."""
    user = User.objects.filter(id=user_id).first()
    if user is None:
        raise NotFound
    jobs = Job.objects.filter(user_id=user_id).aggregate(
        total=Count("id"),
        completed=Count("id", filter=Q(status=JobStatus.COMPLETED)),
        failed=Count("id", filter=Q(status=JobStatus.FAILED)),
    )
    return UserStats(
        user=user,
        balance=_find_balance(user_id),
        total_jobs=jobs["total"],
        completed_jobs=jobs["completed"],
        failed_jobs=jobs["failed"],
        recent_entries=credit_queries.history(user_id=user_id, limit=RECENT),
    )


def _find_balance(user_id: UUID) -> credit_services.Balance | None:
    try:
        return credit_services.balance_of(user_id)
    except NotFound:
        return None
