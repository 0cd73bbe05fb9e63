"""Clear a user's moderation strikes."""

from __future__ import annotations

from uuid import UUID

from adminops.actions.audit import StaffAction, log_action
from adminops.models import AdminAction
from generation.moderation import strikes
from rendio.common.times import iso


def clear_strikes(staff_action: StaffAction, *, user_id: UUID) -> strikes.ClearedStrikes:
    """Clear the user's strikes; end a hold, and a ban that the strikes led to.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState if there are no strikes.
    """
    with log_action(AdminAction.CLEAR_STRIKES, staff_action, subject_id=user_id) as log:
        cleared = strikes.clear_strikes(
            user_id=user_id, acting_user_id=staff_action.actor.id, now=staff_action.now
        )
        log.before = {
            "offences": cleared.offences,
            "held_until": iso(cleared.held_until),
            "banned": cleared.was_banned,
        }
        log.after = {"offences": 0, "held_until": None, "banned": False}
        return cleared
