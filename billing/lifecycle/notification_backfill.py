"""Fetch missed notifications from Apple's notification history.

Apple stops repeating a notification after some days, in its sandbox after one attempt, and keeps
the history for 180 days. Two daily runs for each environment look for gaps: one over all
notifications since the last run, one over those that Apple recorded as undelivered, as far back as
the history goes. A step fetches one page. The position is in the row, so another worker can
continue. Notifications that are found are stored and applied like any other.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from billing.appstore import client, verifier
from billing.appstore.payloads import Unreadable
from billing.due_work import BACKFILL_NOTIFICATIONS
from billing.errors import StoreUnavailable
from billing.models import BackfillCursor, BackfillScope, Environment
from billing.services import notifications
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)

BACKFILL_INTERVAL = timedelta(days=1)
# A little less than Apple's 180 days, as Apple's clock decides.
KEPT_BY_APPLE = timedelta(days=180) - timedelta(hours=1)
# Apple's history may lag when a run reaches its end.
OVERLAP = timedelta(days=1)

WRITTEN = (
    "from_at", "until_at", "pagination_token", "covered_until", "finished_at", "gaps_closed",
    "due_at", "tries",
)  # fmt: skip


@due_work(BACKFILL_NOTIFICATIONS, stop_on=StoreUnavailable)
def fetch_next_page(walk: BackfillCursor, *, now: datetime) -> None:
    if walk.until_at is None:
        walk.from_at, walk.until_at = _start(walk, now=now), now
    assert walk.from_at  # noqa: S101 (both or none)
    try:
        page = client.notification_history(
            environment=Environment(walk.environment),
            from_at=walk.from_at,
            until_at=walk.until_at,
            only_failures=walk.scope == BackfillScope.FAILED,
            token=walk.pagination_token,
        )
    except client.Rejected as rejection:
        # For instance an expired token. Start over when the row is due again.
        logger.warning("history_refused", walk=str(walk), problem=str(rejection))
        walk.clear_position()
        walk.save(update_fields=WRITTEN)
        return
    walk.gaps_closed += sum(_keep(payload, now=now) for payload in page.signed_payloads)
    walk.tries = 0
    if page.next_token:
        walk.pagination_token, walk.due_at = page.next_token, now
    else:
        _finish(walk, now=now)
    walk.save(update_fields=WRITTEN)


def _start(walk: BackfillCursor, *, now: datetime) -> datetime:
    earliest = now - KEPT_BY_APPLE
    if walk.scope == BackfillScope.FAILED or walk.covered_until is None:
        return earliest
    return max(walk.covered_until - OVERLAP, earliest)


def _keep(signed_payload: str, *, now: datetime) -> bool:
    """Store a notification; return whether it was missing. An unreadable one does not stop the
    rest.
    """
    try:
        return notifications.receive(signed_payload=signed_payload, now=now, from_history=True)
    except Unreadable:
        return False  # stored for staff
    except verifier.NotGenuine:
        logger.exception("history_not_genuine")
        return False


def _finish(walk: BackfillCursor, *, now: datetime) -> None:
    walk.covered_until, walk.finished_at = walk.until_at, now
    walk.clear_position()
    walk.due_at = now + BACKFILL_INTERVAL
    logger.info("history_walked", walk=str(walk), gaps_closed=walk.gaps_closed)
