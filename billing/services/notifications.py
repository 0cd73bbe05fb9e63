"""Receive Apple's notifications: verify and store them. A worker applies them
(lifecycle.notifications).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from billing.appstore import verifier
from billing.appstore.payloads import Unreadable
from billing.due_work import APPLY_NOTIFICATIONS
from billing.models import Notification, PayloadKind
from billing.services import unreadable
from rendio.common.errors import InvalidState, NotFound


def reprocess_notification(notification_id: UUID, *, now: datetime) -> Notification:
    """Schedule a notification to be applied again. Joins the caller's transaction. Raises NotFound,
    and InvalidState if its payload has been purged.
    """
    notification = Notification.objects.select_for_update().filter(id=notification_id).first()
    if notification is None:
        raise NotFound
    if not notification.signed_payload:
        raise InvalidState(problem="The payload of this notification has been purged.")
    notification.due_at, notification.tries, notification.processed_at = now, 0, None
    notification.save(update_fields=["due_at", "tries", "processed_at"])
    APPLY_NOTIFICATIONS.wake_workers()
    return notification


def receive(*, signed_payload: str, now: datetime, from_history: bool = False) -> bool:
    """Store a notification to be applied soon; return whether it was new. An unreadable one is
    stored for staff.

    Raises NotGenuine, Unreadable, and any error of verification or storage.
    """
    try:
        return store(signed_payload=signed_payload, now=now, from_history=from_history)
    except Unreadable as problem:
        unreadable.store_unreadable(problem, kind=PayloadKind.NOTIFICATION, now=now)
        raise


def store(*, signed_payload: str, now: datetime, from_history: bool = False) -> bool:
    """Like `receive`, but an unreadable notification is not stored."""
    notification = verifier.read_notification(signed_payload)
    _, is_new = Notification.objects.get_or_create(
        notification_uuid=notification.notification_uuid,
        defaults={
            "environment": notification.environment,
            "type": notification.type,
            "subtype": notification.subtype,
            "transaction_id": notification.transaction.transaction_id
            if notification.transaction
            else "",
            "signed_payload": signed_payload,
            "from_history": from_history,
            "signed_at": notification.signed_at,
            "received_at": now,
            "due_at": now,
        },
    )
    if is_new:
        APPLY_NOTIFICATIONS.wake_workers()
    return is_new
