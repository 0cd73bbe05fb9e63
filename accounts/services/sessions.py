"""Open, refresh and revoke sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts import revocations, tokens
from accounts.models import Device, PushToken, RevokedReason, Session, UsedToken, User
from credits.errors import AccountSuspended
from rendio.common.background.purge import BATCH, delete_batch
from rendio.common.errors import Forbidden, InvalidInput, NotFound, Refusal, Unauthorized
from rendio.common.ids import uuid7

logger = structlog.get_logger(__name__)

RETENTION_DAYS = 30  # after its end, for support
# Superseded successors kept for one grace period; a phone repeats a lost refresh a few times.
MAX_SUPERSEDED = 50
# Live sessions of one user; one more revokes the least recently used.
MAX_SESSIONS = 50


@dataclass(frozen=True)
class IssuedSession:
    """The tokens in clear; only their hashes are stored."""

    access_token: str
    refresh_token: str
    expires_in_seconds: int


def open_session(
    *, user: User, device: Device | None, now: datetime, replaces: Session | None = None
) -> IssuedSession:
    """Open a session. Joins the caller's transaction, which has the user's row locked.

    If it `replaces` another session, that session's refresh token is accepted for the grace period:
    the response with the new one may be lost.
    """
    session = Session(
        id=uuid7(),
        user=user,
        device=device,
        created_at=now,
        last_used_at=now,
        expires_at=_expiry(now),
    )
    token = tokens.new_refresh(session.id)
    session.refresh_hash = token.hash
    if replaces is not None:
        session.previous_hash = replaces.refresh_hash
        session.rotated_at = now
    session.save(force_insert=True)
    _revoke_surplus(user, now=now)
    if replaces is not None:
        Session.objects.filter(id=replaces.id).update(continued_by=session)
        # The phone's push tokens move to the new session.
        its_tokens = PushToken.objects.filter(session__device=replaces.device_id, user=user)
        its_tokens.update(session=session)
    return _issued(session, token, now=now)


def _revoke_surplus(user: User, *, now: datetime) -> None:
    """Keep the user's MAX_SESSIONS live sessions that were used last."""
    live = Session.objects.live(now).owned_by(user.id).order_by("-last_used_at", "-id")
    surplus = list(live.values_list("id", flat=True)[MAX_SESSIONS:])
    if surplus:
        locked = Session.objects.filter(id__in=surplus).order_by("id").select_for_update()
        _revoke(list(locked.values_list("id", flat=True)), reason=RevokedReason.MANY, now=now)


def continue_as_only_session(*, session: Session, user: User, now: datetime) -> IssuedSession:
    """Replace this session by a new one and revoke all others of its user.

    The chain of sessions that this one replaced, or was replaced by, stays: it is the same sign-in.
    Joins the caller's transaction, which has the user's row locked.
    """
    kept = {one.id for one in _lock_session_chain(session.id, user_id=user.id)}
    open_ones = Session.objects.select_for_update().filter(user=user, revoked_at=None)
    others = list(open_ones.exclude(id__in=kept).order_by("id").values_list("id", flat=True))
    # First: push tokens that earlier sessions of this phone registered move to the new session.
    issued = open_session(user=user, device=session.device, now=now, replaces=session)
    _revoke(others, reason=RevokedReason.SIGN_IN, now=now)
    return issued


def find_session(session_id: UUID, *, now: datetime) -> Session | None:
    """The live session with its user, following replacements; None if it is not live."""
    sessions = Session.objects.select_related("user")
    session = sessions.filter(id=session_id).first()
    while session and session.continued_by_id:
        session = sessions.filter(id=session.continued_by_id).first()
    if session is None or session.revoked_at or session.expires_at <= now:
        return None
    return session


def purge_used_tokens(*, now: datetime) -> int:
    """Delete a batch of used-token names that have expired; returns how many."""
    return delete_batch(UsedToken.objects.filter(expires_at__lt=now), order="expires_at")


def refresh_session(*, refresh_token: str, now: datetime) -> IssuedSession:
    """Issue the next tokens of the session that this refresh token belongs to.

    The current token rotates. Its predecessor is accepted for the grace period after the rotation,
    in case the response was lost: it gets a new successor, and the lost one becomes invalid. Any
    other token is a stolen copy and revokes the session. Opens its own transaction: a revocation is
    kept although the call is refused. Raises Unauthorized, AccountSuspended.
    """
    try:
        presented = tokens.read_refresh(refresh_token)
    except tokens.InvalidToken:
        raise Unauthorized from None
    outcome = _refresh(presented, now=now)
    if isinstance(outcome, Refusal):
        raise outcome
    logger.info("session_refreshed", session_id=str(presented.session_id))
    return outcome


def find_session_by_refresh_token(*, refresh_token: str, now: datetime) -> UUID | None:
    """The id of the live session that this token names, else None. The token itself is not checked:
    refresh_session revokes the session for a bad one."""
    try:
        presented = tokens.read_refresh(refresh_token)
    except tokens.InvalidToken:
        return None
    session = find_session(presented.session_id, now=now)
    return session.id if session else None


@transaction.atomic(durable=True)
def _refresh(presented: tokens.RefreshToken, *, now: datetime) -> IssuedSession | Refusal:
    session = _lock_session(presented.session_id)
    while session and session.continued_by_id:
        session = _lock_session(session.continued_by_id)
    if session is None:
        return Unauthorized()
    if session.user.suspended_at:
        return AccountSuspended()
    if session.user.closed_at or session.revoked_at or session.expires_at <= now:
        return Unauthorized()

    grace = timedelta(seconds=settings.REFRESH_GRACE_SECONDS)
    session.superseded_hashes = {
        hash_: superseded_at
        for hash_, superseded_at in list(session.superseded_hashes.items())[-MAX_SUPERSEDED:]
        if superseded_at > (now - grace).timestamp()
    }
    if presented.hash == session.refresh_hash:
        session.previous_hash = session.refresh_hash
        session.rotated_at = now
    elif (
        presented.hash == session.previous_hash
        and session.rotated_at
        and now - session.rotated_at < grace
    ):
        session.superseded_hashes[session.refresh_hash] = now.timestamp()
    elif presented.hash in session.superseded_hashes:
        # One of several responses to the same token; only the last one is valid.
        return Unauthorized()
    else:
        logger.warning("refresh_reused", session_id=str(session.id), user_id=str(session.user_id))
        _revoke([session.id], reason=RevokedReason.REUSE, now=now)
        return Unauthorized()

    successor = tokens.new_refresh(session.id)
    session.refresh_hash = successor.hash
    session.generation += 1
    session.last_used_at = now
    session.expires_at = _expiry(now)
    session.save(
        update_fields=[
            "refresh_hash",
            "previous_hash",
            "superseded_hashes",
            "generation",
            "rotated_at",
            "last_used_at",
            "expires_at",
        ]
    )
    return _issued(session, successor, now=now)


@transaction.atomic(durable=True)
def log_out(*, user_id: UUID, refresh_token: str, now: datetime) -> None:
    """End the session that any of its refresh tokens belongs to. Idempotent.

    Raises InvalidInput for a text that is no refresh token, Forbidden for another user's.
    """
    try:
        session_id = tokens.read_refresh(refresh_token).session_id
    except tokens.InvalidToken:
        raise InvalidInput(fields={"refresh_token": [_("Not a refresh token.")]}) from None
    sessions = _lock_session_chain(session_id, user_id=user_id)
    if not sessions:
        return  # deleted long after its end
    if sessions[-1].user_id != user_id:
        raise Forbidden
    _end_chain(sessions, reason=RevokedReason.LOGOUT, now=now)


@transaction.atomic(durable=True)
def revoke_session(*, user_id: UUID, session_id: UUID, now: datetime) -> None:
    """End one of the user's own sessions. Idempotent. Raises NotFound, also for another user's
    session."""
    sessions = _lock_session_chain(session_id, user_id=user_id)
    if not sessions or sessions[-1].user_id != user_id:
        raise NotFound
    _end_chain(sessions, reason=RevokedReason.OWNER, now=now)


@transaction.atomic(durable=True)
def revoke_device(*, user_id: UUID, device_id: UUID | str, now: datetime) -> None:
    """Unlink one of the user's own devices: its sessions end, and the next device check there
    creates a new guest. A guest keeps the phone.

    `device_id` is the public id, or the device's own UUID. Raises NotFound, also for another user's
    device and for one that was unlinked before.
    """
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    device = Device.objects.owned_by(user_id).named(device_id).first()
    if user is None or device is None:
        raise NotFound
    _unlink_device(device, user=user, now=now)


def _lock_session_chain(session_id: UUID, *, user_id: UUID) -> list[Session]:
    """Lock the session and all that it replaced or was replaced by, latest last.

    The user's row first: a device check must not open another session on that phone meanwhile.
    """
    User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    ids: set[UUID] = {session_id}
    while True:
        later = Session.objects.filter(id__in=ids).values("continued_by")
        near = Session.objects.filter(Q(continued_by__in=ids) | Q(id__in=later))
        found = set(near.values_list("id", flat=True)) - ids
        if not found:
            break
        ids |= found
    # Ids are ordered by time, the order in which a refresh locks them.
    return list(
        Session.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(id__in=ids)
        .order_by("id")
    )


def _end_chain(sessions: list[Session], *, reason: RevokedReason, now: datetime) -> None:
    """Revoke locked sessions of one chain.

    On an account's phone the other sessions end too, and the phone is unlinked: else the next
    device check would sign in any holder of the phone. A guest has nothing but the phone and keeps
    it.
    """
    latest = sessions[-1]
    _revoke([one.id for one in sessions if one.revoked_at is None], reason=reason, now=now)
    # Registered in any of the phone's sessions.
    PushToken.objects.filter(session__device=latest.device_id, user_id=latest.user_id).delete()
    if latest.user.is_guest or latest.device_id is None:
        return
    device = Device.objects.filter(device_id=latest.device_id, user_id=latest.user_id).first()
    if device:
        _unlink_device(device, user=latest.user, now=now)


def _unlink_device(device: Device, *, user: User, now: datetime) -> None:
    """Revoke the user's sessions on the device; an account's phone has no user from now on."""
    on_it = Session.objects.filter(device=device, user=user, revoked_at=None)
    open_ids = on_it.order_by("id").select_for_update().values_list("id", flat=True)
    _revoke(list(open_ids), reason=RevokedReason.OWNER, now=now)
    if not user.is_guest:
        Device.objects.filter(device_id=device.device_id, user=user).update(user=None)


def revoke_user_sessions(*, user_id: UUID, reason: RevokedReason, now: datetime) -> int:
    """Revoke all sessions of a user; returns how many were open. Joins the caller's transaction.

    Lock the user's row first, so that no new session is opened meanwhile.
    """
    session_ids = list(
        Session.objects.select_for_update()
        .filter(user_id=user_id, revoked_at=None)
        .order_by("id")
        .values_list("id", flat=True)
    )
    _revoke(session_ids, reason=reason, now=now)
    return len(session_ids)


@transaction.atomic(durable=True)
def purge_sessions(*, now: datetime, limit: int = BATCH) -> int:
    """Delete sessions RETENTION_DAYS after their end, at most `limit`; returns how many."""
    before = now - timedelta(days=RETENTION_DAYS)
    ended = (
        Session.objects.select_for_update(skip_locked=True)
        .filter(Q(expires_at__lt=before) | Q(revoked_at__lt=before))
        .values_list("id", flat=True)[:limit]
    )
    _, deleted = Session.objects.filter(id__in=list(ended)).delete()
    return deleted.get("accounts.Session", 0)


def _lock_session(session_id: UUID) -> Session | None:
    return (
        Session.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(id=session_id)
        .first()
    )


def _revoke(session_ids: list[UUID], *, reason: RevokedReason, now: datetime) -> None:
    Session.objects.filter(id__in=session_ids).update(revoked_at=now, revoked_reason=reason)
    # After a merge the phone continues in the account's session, and keeps its push token.
    if reason != RevokedReason.MERGE:
        PushToken.objects.filter(session_id__in=session_ids).delete()
    revocations.announce(session_ids, revoked_at=now)


def _issued(session: Session, token: tokens.RefreshToken, *, now: datetime) -> IssuedSession:
    return IssuedSession(
        access_token=tokens.issue_access(
            user_id=session.user_id,
            session_id=session.id,
            language=session.user.language,
            tier=session.user.tier_at(now),
            now=now,
        ),
        refresh_token=token.text,
        expires_in_seconds=settings.ACCESS_TOKEN_SECONDS,
    )


def _expiry(now: datetime) -> datetime:
    return now + timedelta(days=settings.REFRESH_TOKEN_DAYS)
