"""Clear a user's violations of moderation."""

from __future__ import annotations

from uuid import UUID

from adminops.actions.audit import StaffAction, log_action
from adminops.models import AdminAction
from generation.moderation import sanctions
from rendio.common.times import iso


def clear_violations(staff_action: StaffAction, *, user_id: UUID) -> sanctions.ClearedViolations:
    """Clear the user's violations; end a hold, and a ban that the violations led to.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState if there are no violations.
    """
    with log_action(AdminAction.CLEAR_VIOLATIONS, staff_action, subject_id=user_id) as log:
        cleared = sanctions.clear_violations(
            user_id=user_id, acting_user_id=staff_action.actor.id, now=staff_action.now
        )
        log.before = {
            "violations": cleared.count,
            "held_until": iso(cleared.held_until),
            "banned": cleared.was_banned,
        }
        log.after = {"violations": 0, "held_until": None, "banned": False}
        return cleared
