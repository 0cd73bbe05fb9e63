"""Apple's server-to-server events about Apple accounts. Each is applied once, also if late or
repeated."""

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

# An event older than the latest sign-in by more than this is obsolete; less may be clock skew.
CLOCK_SKEW = timedelta(seconds=60)


def receive_event(*, payload: str, now: datetime) -> None:
    """Verify an event and apply it. Opens its own transaction.

    Raises InvalidIdentity, and IdentityServiceUnavailable if Apple's keys cannot be fetched.
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
    """The Apple account is deleted, and with it the only way to sign in: delete our account too.

    An account that cannot be deleted (banned, or staff) is unlinked. The caller has the identity
    locked.
    """
    try:
        with transaction.atomic():
            delete_user(user_id=apple.user_id, apple=apple, now=now)
    except (AccountSuspended, Forbidden):
        _unlink(apple, now=now)


def _unlink(apple: AppleIdentity, *, now: datetime) -> None:
    """End all sessions and unlink the devices, so that only a new sign-in with Apple leads back.

    The account and its contents stay: Apple sends the same `sub` at the next sign-in. The caller
    has the identity locked.
    """
    user_id = apple.user_id
    User.objects.select_for_update(no_key=True).get(id=user_id)
    apple.refresh_token_encrypted = ""
    apple.unlinked_at = now
    apple.save(update_fields=["refresh_token_encrypted", "unlinked_at"])
    revoke_user_sessions(user_id=user_id, reason=RevokedReason.APPLE, now=now)
    Device.objects.filter(user_id=user_id).update(user=None)
