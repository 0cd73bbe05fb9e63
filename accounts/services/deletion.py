"""Account deletion: the person's data goes, the money record stays.

One transaction closes the wallet, ends all sessions and removes personal data from the row that the
ledger refers to. Higher apps delete their part in it (account_deleted: generation/receivers.py,
billing/receivers.py). Work outside the database follows as due rows that are retried until done:
files, and the refresh token at Apple. So no outside service can prevent a deletion. What stays:
docs/decisions/0005-account-deletion.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from cryptography.fernet import InvalidToken
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from accounts.apple import identity_tokens
from accounts.due_work import REVOKE_AT_APPLE
from accounts.errors import IdentityServiceUnavailable
from accounts.models import (
    AppleIdentity,
    AppleRevocation,
    AttestedKey,
    Consent,
    Device,
    Language,
    Push,
    PushToken,
    RevokedReason,
    ThemePreference,
    Tier,
    User,
    WelcomeClaim,
)
from accounts.services import hardware_bans, related_users
from accounts.services.sessions import revoke_user_sessions
from accounts.signals import account_deleted
from credits import idempotency
from credits import services as credit_services
from credits.errors import AccountSuspended
from rendio.common.background.due_work import due_work
from rendio.common.errors import Forbidden, Unauthorized

logger = structlog.get_logger(__name__)

# Apple has refused for so long that a retry will not help.
GIVE_UP_AFTER = timedelta(days=30)


class _BecameAccount(Exception):
    """The guest became an account after we looked for its Apple identity."""


def delete_account(*, user_id: UUID, now: datetime) -> None:
    """Delete the account at once and permanently. Opens its own transaction.

    Raises Unauthorized if the account is closed, AccountSuspended for a banned one (else a ban
    would end here), Forbidden for staff, whose actions are on record under their name.
    """
    try:
        _delete_account(user_id=user_id, now=now)
    except _BecameAccount:
        # The identity is locked before the wallet, so start over. A user has one identity: this
        # happens once.
        _delete_account(user_id=user_id, now=now)


@transaction.atomic(durable=True)
def _delete_account(*, user_id: UUID, now: datetime) -> None:
    apple = AppleIdentity.objects.select_for_update().filter(user_id=user_id).first()
    delete_user(user_id=user_id, apple=apple, now=now)


def delete_user(*, user_id: UUID, apple: AppleIdentity | None, now: datetime) -> None:
    """The deletion itself. Joins the caller's transaction, which has `apple` locked and nothing
    else. Raises as delete_account does."""
    _close_welcome_claims(user_id, now=now)
    credit_services.close(user_id=user_id)
    user = User.objects.select_for_update(no_key=True).filter(id=user_id, closed_at=None).first()
    if user is None:
        raise Unauthorized
    if user.suspended_at:
        raise AccountSuspended
    if user.is_staff:
        raise Forbidden
    if apple is None and AppleIdentity.objects.filter(user_id=user_id).exists():
        raise _BecameAccount
    revoke_user_sessions(user_id=user_id, reason=RevokedReason.DELETION, now=now)
    # The phone's next guest gets no welcome: Apple's bit and the claim stay.
    devices = Device.objects.filter(user_id=user_id)
    AttestedKey.objects.filter(device_id__in=devices.values("device_id")).delete()
    hardware_bans.delete_device_tokens(list(devices.values_list("device_id", flat=True)))
    devices.delete()
    Consent.objects.filter(user_id=user_id).delete()
    PushToken.objects.filter(user_id=user_id).delete()
    Push.objects.filter(user_id=user_id).delete()
    idempotency.delete_for_user(user_id=user_id)
    if apple:
        # For an account that has not signed in since these keys exist.
        of = related_users.PersonKeyKind.APPLE_ACCOUNT
        related_users.link_person(user_id=user_id, of=of, value=apple.sub, now=now)
        _schedule_apple_revocation(apple, now=now)
    _anonymize(user, now=now)
    account_deleted.send(sender=User, user_id=user_id, now=now)
    logger.info("account_deleted", user_id=str(user_id))


def _close_welcome_claims(user_id: UUID, *, now: datetime) -> None:
    """Unlink the user's claims, and decide those of the user's devices: the devices are deleted.

    Locked before the user, as in a device check.
    """
    devices = Device.objects.filter(user_id=user_id).values("device_id")
    claims = WelcomeClaim.objects.filter(Q(user_id=user_id) | Q(device_id__in=devices))
    locked = list(
        claims.order_by("token_hash").select_for_update().values_list("token_hash", flat=True)
    )
    WelcomeClaim.objects.filter(token_hash__in=locked).update(
        user=None,
        granted_at=Coalesce(F("granted_at"), now),
        device_token_encrypted="",
        due_at=None,
    )


def _anonymize(user: User, *, now: datetime) -> None:
    user.username = user.email = user.tos_version = user.last_login = None
    user.tier, user.tier_until = Tier.FREE, None
    user.language, user.language_changed_at = Language.ENGLISH, None
    user.theme_preference = ThemePreference.SYSTEM
    user.set_unusable_password()
    user.closed_at = now
    user.save(
        update_fields=[
            "username", "email", "tos_version", "last_login", "tier", "tier_until", "language",
            "language_changed_at", "theme_preference", "password", "closed_at", "updated_at",
        ]
    )  # fmt: skip


def _schedule_apple_revocation(apple: AppleIdentity, *, now: datetime) -> None:
    if apple.refresh_token_encrypted:
        AppleRevocation.objects.create(
            token_encrypted=apple.refresh_token_encrypted,
            client_id=apple.client_id,
            created_at=now,
            due_at=now,
        )
        REVOKE_AT_APPLE.wake_workers()
    apple.delete()


@due_work(REVOKE_AT_APPLE)
def revoke_apple_token(row: AppleRevocation, *, now: datetime) -> None:
    """Have Apple revoke the token of a deleted account; the row is deleted once Apple has.

    At least once: Apple accepts a second revocation.
    """
    try:
        identity_tokens.revoke(
            identity_tokens.decrypt(row.token_encrypted), client_id=row.client_id
        )
    except IdentityServiceUnavailable:
        if row.created_at > now - GIVE_UP_AFTER:
            return
        logger.exception("apple_revocation_given_up", tries=row.tries)
    except InvalidToken:
        logger.exception("apple_revocation_unreadable")  # its key is gone
    row.delete()
