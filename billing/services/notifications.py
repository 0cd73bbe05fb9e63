"""Taking in Apple's notifications: verified, stored, answered. A worker applies them
(lifecycle.notifications)."""

from __future__ import annotations

from datetime import datetime

from billing.appstore import verifier
from billing.models import Notification
from rendio.common import nudge


def receive(*, signed_payload: str, now: datetime, from_history: bool = False) -> bool:
    """Keep a notification, to be applied soon; whether it was new to us.

    Raises NotGenuine, and whatever else kept us from verifying or storing it.
    """
    notice = verifier.read_notification(signed_payload)
    _, is_new = Notification.objects.get_or_create(
        notification_uuid=notice.notification_uuid,
        defaults={
            "environment": notice.environment,
            "type": notice.type,
            "subtype": notice.subtype,
            "transaction_id": notice.transaction.transaction_id if notice.transaction else "",
            "signed_payload": signed_payload,
            "from_history": from_history,
            "signed_at": notice.signed_at,
            "received_at": now,
            "due_at": now,
        },
    )
    if is_new:
        nudge.after_commit("billing.apply_notifications", queue="high")
    return is_new
