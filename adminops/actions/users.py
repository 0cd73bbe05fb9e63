"""Actions on users: bans, sessions, and the second factor of staff."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from accounts import services as account_services
from accounts.models import User
from adminops.actions.audit import StaffAction, log_action
from adminops.auth import otp
from adminops.models import AdminAction
from credits import services as credit_services
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso


def ban_user(staff_action: StaffAction, *, user_id: UUID) -> None:
    """End all sessions of a user and let the user spend nothing.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState for oneself, for staff unless the
    actor is a superuser, and for a banned user.
    """
    with log_action(AdminAction.BAN_USER, staff_action, subject_id=user_id) as log:
        user = _lock_user(user_id, staff_action.actor)
        if user.suspended_at:
            raise InvalidState(problem="This user is banned already.")
        log.before = _ban_state(user)
        account_services.ban_user(
            user_id=user_id,
            reason=log.staff_action.reason,
            acting_user_id=staff_action.actor.id,
            now=staff_action.now,
        )
        user.refresh_from_db()
        log.after = _ban_state(user)


def unban_user(staff_action: StaffAction, *, user_id: UUID) -> None:
    """Lift the ban of a user and of the user's phones. Raises as ban_user does, and InvalidState
    if neither the user nor a phone is banned."""
    with log_action(AdminAction.UNBAN_USER, staff_action, subject_id=user_id) as log:
        user = _lock_user(user_id, staff_action.actor)
        if not (user.suspended_at or user.hardware_banned_at):
            raise InvalidState(problem="This user is not banned.")
        log.before = _ban_state(user)
        account_services.unban_user(
            user_id=user_id,
            reason=log.staff_action.reason,
            acting_user_id=staff_action.actor.id,
            now=staff_action.now,
        )
        user.refresh_from_db()
        log.after = _ban_state(user)


def revoke_sessions(staff_action: StaffAction, *, user_id: UUID) -> int:
    """Sign the user out everywhere; returns the number of sessions ended. Raises Forbidden,
    InvalidInput, NotFound."""
    with log_action(AdminAction.REVOKE_SESSIONS, staff_action, subject_id=user_id) as log:
        ended = account_services.sign_out_everywhere(user_id=user_id, now=staff_action.now)
        log.before, log.after = {"open_sessions": ended}, {"open_sessions": 0}
        return ended


def reset_second_factor(staff_action: StaffAction, *, user_id: UUID) -> None:
    """Delete the authenticator app and the recovery codes of a member of staff. Their sessions are
    no longer verified; the next sign-in sets up another app.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState for oneself, for a superuser unless
    the actor is one, and if there is no app.
    """
    with log_action(AdminAction.RESET_SECOND_FACTOR, staff_action, subject_id=user_id) as log:
        user = User.objects.select_for_update().filter(id=user_id, is_staff=True).first()
        if user is None:
            raise NotFound
        if user.id == staff_action.actor.id:
            raise InvalidState(problem="You cannot do this to your own account.")
        if user.is_superuser and not staff_action.actor.is_superuser:
            raise InvalidState(problem="Only a superuser can do this to a superuser.")
        log.before = {"apps": 1, "recovery_codes": otp.count_recovery_codes(user)}
        if not otp.delete_devices(user):
            raise InvalidState(problem="There is no second factor to reset.")
        log.after = {"apps": 0, "recovery_codes": 0}


def _lock_user(user_id: UUID, actor: User) -> User:
    """The user, locked until the transaction ends. Raises NotFound, and InvalidState if the actor
    may not ban or unban this user."""
    with suppress(NotFound):  # staff have no wallet
        # The wallet before the user, as in all code: another order of locks could deadlock.
        credit_services.lock_wallet(user_id=user_id)
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound
    if user.id == actor.id:
        raise InvalidState(problem="You cannot do this to your own account.")
    if user.is_staff and not actor.is_superuser:
        raise InvalidState(problem="Only a superuser can do this to a member of staff.")
    return user


def _ban_state(user: User) -> dict[str, Any]:
    state = {"banned_at": iso(user.suspended_at), "reason": user.suspended_reason}
    if user.hardware_banned_at:
        state["hardware_banned_at"] = iso(user.hardware_banned_at)
    return state
