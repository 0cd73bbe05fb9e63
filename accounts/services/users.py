"""Users: profile, ban, tier, staff."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.languages import changed
from accounts.models import Device, RevokedReason, Tier, User
from accounts.services import hardware_bans
from accounts.services.sessions import revoke_user_sessions
from credits import services as credit_services
from rendio.common.errors import NotFound, Unauthorized

PROFILE_FIELDS = frozenset({"language", "theme_preference", "tos_version"})


def update_profile(*, user_id: UUID, changes: dict[str, str], now: datetime) -> None:
    """Set some of PROFILE_FIELDS. A language takes effect at once, in all sessions of the user.

    Opens its own transaction. Raises Unauthorized if the account is closed.
    """
    unknown = changes.keys() - PROFILE_FIELDS
    if unknown:
        raise ValueError(f"not of the profile: {sorted(unknown)}")
    user = _save_profile(user_id, changes, now=now)
    if "language" in changes and user.language_changed_at:
        changed.add(user_id, user.language, changed_at=user.language_changed_at)


@transaction.atomic(durable=True)
def _save_profile(user_id: UUID, changes: dict[str, str], *, now: datetime) -> User:
    user = User.objects.select_for_update(no_key=True).filter(id=user_id, closed_at=None).first()
    if user is None:
        raise Unauthorized
    for name, value in changes.items():
        setattr(user, name, value)
    if "language" in changes:
        # Never earlier than the previous change, whose clock may be ahead: the last commit wins.
        user.language_changed_at = max(now, user.language_changed_at or now)
    if changes:
        user.save(update_fields=[*changes, "language_changed_at", "updated_at"])
    return user


def ban_user(*, user_id: UUID, reason: str, acting_user_id: UUID | None, now: datetime) -> None:
    """Suspend the wallet, revoke all sessions, refuse new ones, and mark the user's phones at Apple
    (hardware_bans). Idempotent.

    `acting_user_id` is None where a rule bans. Joins the caller's transaction. Locks the wallet
    first: every charge holds that lock. Raises NotFound.
    """
    credit_services.suspend(user_id=user_id)
    user = _lock_user(user_id)
    if user.suspended_at is None:
        user.suspended_at = now
        user.suspended_reason = reason
        user.save(update_fields=["suspended_at", "suspended_reason", "updated_at"])
    revoke_user_sessions(user_id=user_id, reason=RevokedReason.BAN, now=now)
    hardware_bans.schedule_ban_bits(user_id=user_id, is_banned=True, now=now)


def unban_user(*, user_id: UUID, reason: str, acting_user_id: UUID, now: datetime) -> None:
    """Lift the user's ban and the hardware's, and clear the mark of the user's phones. Joins the
    caller's transaction. Raises NotFound."""
    credit_services.resume(user_id=user_id)
    user = _lock_user(user_id)
    user.suspended_at = user.hardware_banned_at = None
    user.suspended_reason = ""
    user.save(
        update_fields=["suspended_at", "suspended_reason", "hardware_banned_at", "updated_at"]
    )
    hardware_bans.schedule_ban_bits(user_id=user_id, is_banned=False, now=now)


def sign_out_everywhere(*, user_id: UUID, now: datetime) -> int:
    """Revoke all sessions, as for a lost phone; returns how many were open.

    An account's phones are unlinked: otherwise the next device check would sign in any holder. A
    guest has nothing but the phone and keeps it. Joins the caller's transaction. Raises NotFound.
    """
    user = _lock_user(user_id)
    ended = revoke_user_sessions(user_id=user_id, reason=RevokedReason.SUPPORT, now=now)
    if not user.is_guest:
        Device.objects.filter(user_id=user_id).update(user=None)
    return ended


def set_tier(*, user_id: UUID, tier: Tier, until: datetime | None) -> None:
    """Joins the caller's transaction, which has the user's wallet locked. A closed account is not
    changed."""
    user = User.objects.select_for_update(no_key=True).filter(id=user_id, closed_at=None).first()
    if user and (user.tier, user.tier_until) != (tier, until):
        user.tier, user.tier_until = tier, until
        user.save(update_fields=["tier", "tier_until", "updated_at"])


@transaction.atomic(durable=True)
def ensure_staff(*, username: str, password: str) -> bool:
    """Create or update a superuser with this name and password; returns whether it is new.

    A correct password is not set again: that would end the person's sessions.
    """
    user = User.objects.select_for_update().filter(username=username).first()
    if user is None:
        User.objects.create_superuser(username, password=password)
        return True
    user.is_staff = user.is_superuser = True
    if not user.check_password(password):
        user.set_password(password)
    user.save(update_fields=["is_staff", "is_superuser", "password", "updated_at"])
    return False


def _lock_user(user_id: UUID) -> User:
    try:
        return User.objects.select_for_update(no_key=True).get(id=user_id)
    except User.DoesNotExist:
        raise NotFound from None
