"""Asking a provider to stop what nobody waits for any more: its job was refunded at a deadline.

At least once, and best effort: it saves money that would be spent for nothing, and decides nothing
about anybody's. What finishes all the same is kept for the user.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import attrgetter

from generation.due_work import CANCEL_ABANDONED
from generation.lifecycle.claims import run_concurrently
from generation.lifecycle.poll import to_handle
from generation.models import ProviderRequest
from generation.providers import get_provider
from generation.providers.base import CancelResult, Unknown
from rendio.common.due import lease_due
from rendio.common.due_work import due_batch

# Longer than asking can take, so that nobody else asks meanwhile.
LEASE = timedelta(seconds=60)
# By then it has ended by itself.
GIVE_UP_AFTER = timedelta(hours=1)


@due_batch(CANCEL_ABANDONED)
def cancel_abandoned_due(*, now: datetime) -> int:
    """Ask for what is due, up to a batch concurrently; returns how many."""
    requests = lease_due(
        ProviderRequest.objects.select_related("job"),
        column="cancel_due_at",
        now=now,
        limit=CANCEL_ABANDONED.batch,
        lease=LEASE,
    )
    run_concurrently(requests, _send_cancel, _apply, job_of=attrgetter("job"), now=now)
    return len(requests)


def _send_cancel(request: ProviderRequest) -> CancelResult:
    return get_provider(request.provider).cancel(to_handle(request))


def _apply(request: ProviderRequest, answer: CancelResult | Unknown, now: datetime) -> None:
    asked = answer in {CancelResult.REQUESTED, CancelResult.CANCELLED, CancelResult.TOO_LATE}
    since = now - (request.ended_at or now)
    # Each pause is as long as it has been tried already.
    again = None if asked or since > GIVE_UP_AFTER else now + max(since, LEASE)
    ProviderRequest.objects.filter(id=request.id).update(
        cancel_due_at=again, cancel_asked_at=now if asked else None
    )
