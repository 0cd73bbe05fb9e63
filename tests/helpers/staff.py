"""Staff actions, for tests that call the services of adminops/actions directly."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from accounts.models import User
from adminops.actions.audit import StaffAction
from rendio.common import clock


def staff_action(
    actor: User,
    reason: str = "The video came out black",
    *,
    now: datetime | None = None,
    form_id: UUID | None = None,
) -> StaffAction:
    return StaffAction(actor, reason, now or clock.now(), form_id)
