"""Support's acts upon users and what is on sale (adminops.actions.audit has what all acts
share).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Unpack
from uuid import UUID

from django.db import transaction

from accounts import services as account_services
from accounts.models import User
from adminops.actions.audit import Who, admitted, record_act
from adminops.auth import otp
from adminops.models import AdminAction
from credits import services as credit_services
from generation.catalogue import cache
from generation.errors import InvalidModel
from generation.models import Model, Route
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso

__all__ = [
    "ban_user",
    "reset_second_factor",
    "revoke_sessions",
    "toggle_model",
    "toggle_route",
    "unban_user",
]


@transaction.atomic(durable=True)
def ban_user(*, user_id: UUID, **who: Unpack[Who]) -> None:
    """Nothing is spent from now on and all sessions end.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState for oneself, for staff unless a
    superuser asks, and for who is banned already.
    """
    who = admitted(AdminAction.BAN_USER, who)
    user = _locked_user(user_id, who["acting_user"])
    if user.suspended_at:
        raise InvalidState(problem="This user is banned already.")
    before = _standing(user)
    account_services.ban_user(
        user_id=user_id, reason=who["reason"], acting_user_id=who["acting_user"].id, now=who["now"]
    )
    user.refresh_from_db()
    record_act(AdminAction.BAN_USER, who, subject_id=user_id, before=before, after=_standing(user))


@transaction.atomic(durable=True)
def unban_user(*, user_id: UUID, **who: Unpack[Who]) -> None:
    """The user may sign in and spend again, and the user's phones are banned no more. Raises as
    ban_user does, and InvalidState where neither the user nor the phone is banned."""
    who = admitted(AdminAction.UNBAN_USER, who)
    user = _locked_user(user_id, who["acting_user"])
    if not (user.suspended_at or user.hardware_banned_at):
        raise InvalidState(problem="This user is not banned.")
    before = _standing(user)
    account_services.unban_user(
        user_id=user_id,
        reason=who["reason"],
        acting_user_id=who["acting_user"].id,
        now=who["now"],
    )
    user.refresh_from_db()
    record_act(
        AdminAction.UNBAN_USER, who, subject_id=user_id, before=before, after=_standing(user)
    )


@transaction.atomic(durable=True)
def toggle_model(*, model_id: UUID, is_available: bool, **who: Unpack[Who]) -> None:
    """Put a model on sale or take it off; jobs that were sold go on. Setting what is set is
    recorded too. Raises Forbidden, InvalidInput, InvalidModel."""
    who = admitted(AdminAction.TOGGLE_MODEL, who)
    model = Model.objects.select_for_update(no_key=True).filter(id=model_id).first()
    if model is None:
        raise InvalidModel
    before = {"is_available": model.is_available}
    model.is_available = is_available
    model.save(update_fields=["is_available"])
    record_act(
        AdminAction.TOGGLE_MODEL,
        who,
        subject_id=model_id,
        before=before,
        after={"is_available": is_available},
    )
    transaction.on_commit(cache.invalidate)


@transaction.atomic(durable=True)
def toggle_route(*, route_id: UUID, is_enabled: bool, **who: Unpack[Who]) -> None:
    """Let a route take orders, or no more; what it has goes on. Raises Forbidden, InvalidInput,
    NotFound."""
    who = admitted(AdminAction.TOGGLE_ROUTE, who)
    route = Route.objects.select_for_update(no_key=True).filter(id=route_id).first()
    if route is None:
        raise NotFound
    before = {"route": str(route), "is_enabled": route.is_enabled}
    route.is_enabled = is_enabled
    route.save(update_fields=["is_enabled"])
    record_act(
        AdminAction.TOGGLE_ROUTE,
        who,
        subject_id=route_id,
        before=before,
        after={"route": str(route), "is_enabled": is_enabled},
    )
    transaction.on_commit(cache.invalidate)


@transaction.atomic(durable=True)
def revoke_sessions(*, user_id: UUID, **who: Unpack[Who]) -> int:
    """Sign the user out everywhere; returns how many sessions were open. Raises Forbidden,
    InvalidInput, NotFound."""
    who = admitted(AdminAction.REVOKE_SESSIONS, who)
    ended = account_services.sign_out_everywhere(user_id=user_id, now=who["now"])
    record_act(
        AdminAction.REVOKE_SESSIONS,
        who,
        subject_id=user_id,
        before={"open_sessions": ended},
        after={"open_sessions": 0},
    )
    return ended


@transaction.atomic(durable=True)
def reset_second_factor(*, user_id: UUID, **who: Unpack[Who]) -> None:
    """Forget a member of staff's app and recovery codes, and with them what their sessions have
    shown: the next sign-in sets up another.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState for oneself, for a superuser unless a
    superuser asks, and where there is no app.
    """
    who = admitted(AdminAction.RESET_SECOND_FACTOR, who)
    user = User.objects.select_for_update().filter(id=user_id, is_staff=True).first()
    if user is None:
        raise NotFound
    if user.id == who["acting_user"].id:
        raise InvalidState(problem="Nobody does this to their own account.")
    if user.is_superuser and not who["acting_user"].is_superuser:
        raise InvalidState(problem="Only a superuser does this to a superuser.")
    before = {"apps": 1, "recovery_codes": otp.recovery_codes_left(user)}
    if not otp.forget(user):
        raise InvalidState(problem="There is no second factor to reset.")
    record_act(
        AdminAction.RESET_SECOND_FACTOR,
        who,
        subject_id=user_id,
        before=before,
        after={"apps": 0, "recovery_codes": 0},
    )


def _locked_user(user_id: UUID, acting_user: User) -> User:
    """The user whom `acting_user` may ban or unban, locked until the transaction ends."""
    with suppress(NotFound):  # staff have no wallet
        # The wallet before the user, as everywhere: two orders would lock each other up.
        credit_services.lock_wallet(user_id=user_id)
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound
    if user.id == acting_user.id:
        raise InvalidState(problem="Nobody does this to their own account.")
    if user.is_staff and not acting_user.is_superuser:
        raise InvalidState(problem="Only a superuser does this to a member of staff.")
    return user


def _standing(user: User) -> dict[str, Any]:
    standing = {"banned_at": iso(user.suspended_at), "reason": user.suspended_reason}
    if user.hardware_banned_at:
        standing["hardware_banned_at"] = iso(user.hardware_banned_at)
    return standing
