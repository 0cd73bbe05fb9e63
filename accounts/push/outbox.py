"""Pushes to send: due rows and their outcome."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from accounts.due_work import SEND_PUSHES
from accounts.models import Push, PushKind, PushOutcome
from rendio.common.background.purge import delete_batch
from rendio.common.ids import lowest_uuid7, uuid7
from rendio.common.observability import metrics

# Phones of one user; registering one more deletes the oldest registration.
MAX_PUSH_TOKENS = 10
RETENTION = timedelta(days=30)

# One statement reads the phones and inserts: it runs in the transaction that ends a job, and
# inserts nothing for a user without a phone.
_INSERT = """
INSERT INTO accounts_push (id, user_id, token_id, kind, subject_id, job_id, credits, is_image,
    created_at, expires_at, due_at, tries, outcome, reason, is_held)
SELECT (%(ids)s::uuid[])[row_number() OVER ()], user_id, id, %(kind)s, %(subject_id)s, %(job_id)s,
    %(credits)s, %(is_image)s, %(now)s, %(expires_at)s, %(now)s, 0, '', '', false
FROM accounts_pushtoken
WHERE user_id = %(user_id)s AND platform = 'ios' AND NOT EXISTS (
    SELECT FROM accounts_push
    WHERE user_id = %(user_id)s AND subject_id = %(subject_id)s AND kind = %(kind)s
)
ORDER BY registered_at DESC LIMIT %(most)s
ON CONFLICT DO NOTHING"""


def is_enabled() -> bool:
    return bool(settings.APNS_PRIVATE_KEY)


def enqueue(
    *,
    user_id: UUID,
    kind: PushKind,
    job_id: UUID,
    credits: int,
    is_image: bool,
    now: datetime,
    subject_id: UUID | None = None,
) -> bool:
    """Enqueue a push to each of the user's iPhones, once for each subject (the job if none is
    given).

    Joins the caller's transaction, with one statement. The caller serializes calls about one user
    and subject by holding the user's wallet or the job. False if the user has no phone or has been
    notified already.
    """
    if not is_enabled():
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            {
                "ids": [uuid7() for _ in range(MAX_PUSH_TOKENS)],
                "most": MAX_PUSH_TOKENS,
                "user_id": user_id,
                "kind": kind.value,
                "subject_id": subject_id or job_id,
                "job_id": job_id,
                "credits": credits,
                "is_image": is_image,
                "now": now,
                "expires_at": now + timedelta(hours=settings.PUSH_EXPIRY_HOURS),
            },
        )
        was_enqueued = bool(cursor.rowcount > 0)
    if was_enqueued:
        SEND_PUSHES.wake_workers()
    return was_enqueued


def finish(push: Push, outcome: PushOutcome, *, now: datetime, reason: str = "") -> None:
    """Record the outcome, unless the row changed since it was claimed."""
    unchanged = Push.objects.filter(id=push.id, due_at=push.due_at)
    unchanged.update(outcome=outcome, reason=reason, due_at=None, ended_at=now)
    metrics.pushes.labels(push.kind, outcome.value).inc()


def blocking_reason() -> str:
    """Apple's reason for refusing our key, team or topic, while pushes wait for that; else ""."""
    return _blocked().values_list("reason", flat=True).first() or ""


def count_blocked() -> int:
    """Pushes that wait because Apple refuses our credentials."""
    return _blocked().count()


def _blocked() -> QuerySet[Push]:
    return Push.objects.filter(due_at__isnull=False, blocked_by_credentials=True)


def purge_pushes(*, now: datetime) -> int:
    """Delete finished pushes after RETENTION, at most a batch; returns how many. Harmless twice or
    late."""
    old = Push.objects.filter(id__lt=lowest_uuid7(now - RETENTION), due_at=None)
    return delete_batch(old, order="id")
