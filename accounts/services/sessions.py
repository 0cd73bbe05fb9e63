"""Sessions: opened, refreshed, ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts import revocations, tokens
from accounts.errors import AccountSuspended, Forbidden, InvalidInput, Unauthorized
from accounts.models import Device, RevokedReason, Session, User
from rendio.common.errors import Refusal
from rendio.common.ids import uuid7

logger = structlog.get_logger(__name__)

KEPT_DAYS = 30  # after its end, for support
# Successors remembered of one grace; a phone repeats a lost refresh a few times at most.
MAX_SUPERSEDED = 50


@dataclass(frozen=True)
class IssuedSession:
    """The only time that the tokens are seen in clear."""

    access_token: str
    refresh_token: str
    expires_in_seconds: int


def open_session(*, user: User, device: Device | None, now: datetime) -> IssuedSession:
    """A new session. Joins the caller's transaction, which has the user's row locked."""
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
    session.save(force_insert=True)
    return _issued(session, token, now=now)


def refresh_session(*, refresh_token: str, now: datetime) -> IssuedSession:
    """The next tokens of the session that this refresh token belongs to.

    The current token rotates. The one before it is taken for the grace after the rotation, for an
    answer that was lost: it gets a new successor, and the lost one is no longer good. Any other is
    somebody's copy and ends the session. Opens its own transaction: a revocation is kept although
    the answer is a refusal. Raises Unauthorized, AccountSuspended.
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


@transaction.atomic(durable=True)
def _refresh(presented: tokens.RefreshToken, *, now: datetime) -> IssuedSession | Refusal:
    session = (
        Session.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(id=presented.session_id)
        .first()
    )
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
        # One of several answers to the same token, of which only the last one goes on.
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
    """End the session of this refresh token, whichever of its tokens it is; twice is as once.

    Raises InvalidInput for what is no refresh token, Forbidden for another user's.
    """
    try:
        session_id = tokens.read_refresh(refresh_token).session_id
    except tokens.InvalidToken:
        raise InvalidInput(fields={"refresh_token": ["Not a refresh token."]}) from None
    session = Session.objects.select_for_update().filter(id=session_id).first()
    if session is None:
        return  # swept long after its end
    if session.user_id != user_id:
        raise Forbidden
    if session.revoked_at is None:
        _revoke([session.id], reason=RevokedReason.LOGOUT, now=now)


def revoke_sessions_of(*, user_id: UUID, reason: RevokedReason, now: datetime) -> int:
    """End all sessions of a user; returns how many were open. Joins the caller's transaction.

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
def sweep_sessions(*, now: datetime, limit: int = 1000) -> int:
    """Delete sessions that ended long ago, at most `limit`; returns how many."""
    before = now - timedelta(days=KEPT_DAYS)
    ended = (
        Session.objects.select_for_update(skip_locked=True)
        .filter(Q(expires_at__lt=before) | Q(revoked_at__lt=before))
        .values_list("id", flat=True)[:limit]
    )
    deleted, _ = Session.objects.filter(id__in=list(ended)).delete()
    return deleted


def _revoke(session_ids: list[UUID], *, reason: RevokedReason, now: datetime) -> None:
    Session.objects.filter(id__in=session_ids).update(revoked_at=now, revoked_reason=reason)
    revocations.announce(session_ids, revoked_at=now)


def _issued(session: Session, token: tokens.RefreshToken, *, now: datetime) -> IssuedSession:
    return IssuedSession(
        access_token=tokens.issue_access(
            user_id=session.user_id,
            session_id=session.id,
            language=session.user.language,
            now=now,
        ),
        refresh_token=token.text,
        expires_in_seconds=settings.ACCESS_TOKEN_SECONDS,
    )


def _expiry(now: datetime) -> datetime:
    return now + timedelta(days=settings.REFRESH_TOKEN_DAYS)
