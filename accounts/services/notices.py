"""What Apple tells of its accounts, from server to server: once each, late or twice included."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction

from accounts import appleid
from accounts.appleid import Notice
from accounts.models import AppleIdentity, Device, RevokedReason, SpentToken, User
from accounts.services.sessions import revoke_sessions_of

logger = structlog.get_logger(__name__)

# What happened this long before the latest sign-in is over; less may be the clocks.
CLOCK_SKEW = timedelta(seconds=60)


def receive_apple_notice(*, payload: str, now: datetime) -> None:
    """Verify a notice and do as it says. Opens its own transaction.

    Raises InvalidIdentity, IdentityServiceUnavailable where Apple's keys cannot be had.
    """
    notice = appleid.read_notice(payload)
    with transaction.atomic(durable=True):
        outcome = _apply(notice, now=now)
    logger.info("apple_notice", kind=notice.kind[:40], outcome=outcome)


def _apply(notice: Notice, *, now: datetime) -> str:
    until = {"expires_at": notice.forgotten_at}
    if not SpentToken.objects.get_or_create(name=notice.name, defaults=until)[1]:
        return "repeated"
    apple = AppleIdentity.objects.select_for_update().filter(sub=notice.sub).first()
    if apple is None:
        return "unknown person"
    match notice.kind:
        case "email-enabled" | "email-disabled":
            apple.relay_enabled = notice.kind == "email-enabled"
            if notice.email:
                apple.email = notice.email
            if notice.is_private_email is not None:
                apple.is_private_email = notice.is_private_email
            apple.save(update_fields=["relay_enabled", "email", "is_private_email"])
        case "consent-revoked":
            if notice.happened_at < apple.last_sign_in_at - CLOCK_SKEW:
                return "signed in again since"
            unlink(user_id=apple.user_id, now=now)
        case "account-delete" | "account-deleted":
            apple_account_deleted(user_id=apple.user_id, now=now)
        case _:
            return "not known"
    return "applied"


def apple_account_deleted(*, user_id: UUID, now: datetime) -> None:
    """The person's Apple account is gone, and with it the way into ours. Joins the caller's
    transaction, which has the Apple identity locked."""
    unlink(user_id=user_id, now=now)


def unlink(*, user_id: UUID, now: datetime) -> None:
    """End all sessions and leave the phones, so that only a new sign-in with Apple leads back.

    The account and what is in it stay, and so does whose it is: Apple gives the same name at the
    next sign-in. Joins the caller's transaction, which has the Apple identity locked.
    """
    User.objects.select_for_update(no_key=True).get(id=user_id)
    AppleIdentity.objects.filter(user_id=user_id).update(
        refresh_token_encrypted="",
        unlinked_at=now,
    )
    revoke_sessions_of(user_id=user_id, reason=RevokedReason.APPLE, now=now)
    Device.objects.filter(user_id=user_id).update(user=None)
