"""Apply stored notifications.

At least once, in any order: a notification states a state (notification_handlers). One that cannot
be applied now is retried, in the end hourly and without limit: it is money.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from django.conf import settings

from billing.appstore import verifier
from billing.appstore.payloads import Unreadable
from billing.due_work import APPLY_NOTIFICATIONS
from billing.lifecycle import notification_handlers
from billing.models import Notification, PayloadKind
from billing.services import unreadable
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)


@due_work(APPLY_NOTIFICATIONS, stop_on=verifier.VerificationUnavailable)
def apply_notification(row: Notification, *, now: datetime) -> None:
    # Backfilled notifications came from Apple's own server, and may be older than the certificates
    # of today, which the online check validates.
    online = settings.APPSTORE_ONLINE_CHECKS and not row.from_history
    try:
        notification = verifier.read_notification(row.signed_payload, online=online)
        row.outcome = notification_handlers.handle(notification, now=now)
    except Unreadable as problem:
        # Another release stored it and could read it. The row stays due.
        unreadable.store_unreadable(problem, kind=PayloadKind.NOTIFICATION, now=now)
        raise
    except verifier.NotGenuine as problem:
        logger.exception("notification_refused", notification_id=str(row.id))
        row.outcome = f"refused: {problem}"
    row.outcome = row.outcome[:120]
    row.processed_at, row.due_at = now, None
    row.save(update_fields=["outcome", "processed_at", "due_at"])
    logger.info("notification_applied", type=row.type, outcome=row.outcome)
