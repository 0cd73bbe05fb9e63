"""What Apple tells of its accounts, from server to server: once each, late or twice included."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.apple import identity_tokens
from accounts.apple.identity_tokens import AppleAccountEvent
from accounts.models import AppleIdentity, Device, RevokedReason, UsedToken, User
from accounts.services.deletion import delete_user
from accounts.services.sessions import revoke_user_sessions
from credits.errors import AccountSuspended
from rendio.common.errors import Forbidden

logger = structlog.get_logger(__name__)

# What happened this long before the latest sign-in is over; less may be the clocks.
CLOCK_SKEW = timedelta(seconds=60)


def receive_event(*, payload: str, now: datetime) -> None:
    """Verify a notice and do as it says. Opens its own transaction.

    Raises InvalidIdentity, IdentityServiceUnavailable where Apple's keys cannot be had.
    """
    notice = identity_tokens.read_account_event(payload)
    with transaction.atomic(durable=True):
        outcome = _apply(notice, now=now)
    logger.info("apple_notice", kind=notice.kind[:40], outcome=outcome)


def _apply(notice: AppleAccountEvent, *, now: datetime) -> str:
    until = {"expires_at": notice.expires_at}
    if not UsedToken.objects.get_or_create(name=notice.name, defaults=until)[1]:
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
        case "consent-revoked" | "account-delete" | "account-deleted":
            if notice.happened_at < apple.last_sign_in_at - CLOCK_SKEW:
                return "signed in again since"
            if notice.kind == "consent-revoked":
                _unlink(apple, now=now)
            else:
                _delete_user(apple, now=now)
        case _:
            return "not known"
    return "applied"


def _delete_user(apple: AppleIdentity, *, now: datetime) -> None:
    """The person's Apple account is gone, and with it the only way into ours: ours goes too.

    An account that may not go (banned, or staff) is unlinked. The caller has the identity locked.
    """
    try:
        with transaction.atomic():
            delete_user(user_id=apple.user_id, apple=apple, now=now)
    except (AccountSuspended, Forbidden):
        _unlink(apple, now=now)


def _unlink(apple: AppleIdentity, *, now: datetime) -> None:
    """End all sessions and leave the phones, so that only a new sign-in with Apple leads back.

    The account and what is in it stay, and so does whose it is: Apple gives the same name at the
    next sign-in. The caller has the identity locked.
    """
    user_id = apple.user_id
    User.objects.select_for_update(no_key=True).get(id=user_id)
    apple.refresh_token_encrypted = ""
    apple.unlinked_at = now
    apple.save(update_fields=["refresh_token_encrypted", "unlinked_at"])
    revoke_user_sessions(user_id=user_id, reason=RevokedReason.APPLE, now=now)
    Device.objects.filter(user_id=user_id).update(user=None)
