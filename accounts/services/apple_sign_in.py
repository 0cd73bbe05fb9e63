"""Sign in with Apple: a guest becomes an account, or joins one that exists.

Everything moves in one transaction, once, for any number of repeated or concurrent calls. The order
is

    1. verify the identity token                     nothing has changed yet
    2. have Apple exchange the code, if any          the code is used up: a crash from here on
                                                     costs one more tap on the phone
    3. commit: use the identity token, merge, open a session

Lock order in step 3, the same in all code: Apple identity, wallets, users, the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction

from accounts.apple import identity_tokens
from accounts.apple.identity_tokens import Identity
from accounts.errors import IdentityServiceUnavailable, InvalidIdentity
from accounts.models import (
    AppleIdentity,
    Consent,
    Device,
    Push,
    PushToken,
    RevokedReason,
    Session,
    UsedToken,
    User,
)
from accounts.services import related_users
from accounts.services.sessions import (
    IssuedSession,
    continue_as_only_session,
    find_session,
    open_session,
    revoke_user_sessions,
)
from accounts.signals import users_merged
from credits import idempotency
from credits import services as credit_services
from credits.errors import AccountSuspended
from rendio.common.errors import InvalidState, Refusal, Unauthorized

logger = structlog.get_logger(__name__)

MAX_DEVICES = 50


@dataclass(frozen=True)
class SignedIn:
    user_id: UUID
    merged: bool
    credits_remaining: int
    session: IssuedSession


def sign_in_with_apple(
    *,
    session_id: UUID,
    identity_token: str,
    nonce: str,
    authorization_code: str | None,
    now: datetime,
) -> SignedIn:
    """Sign in the person that Apple names, from a guest's session or the account's own.

    Calls Apple: must not run inside a transaction. Raises InvalidIdentity, InvalidState if the
    Apple account belongs to another account, AccountSuspended, Unauthorized, and
    IdentityServiceUnavailable (nothing has changed, the phone retries).
    """
    try:
        identity = identity_tokens.read_identity_token(identity_token, nonce=nonce)
        # Checked again under the locks; this check avoids wasting the code.
        _check_early(session_id, identity, now=now)
        refresh_token = None
        if authorization_code:
            refresh_token = identity_tokens.exchange_code(authorization_code, identity=identity)
        signed_in = complete_sign_in(
            session_id=session_id, identity=identity, refresh_token=refresh_token, now=now
        )
    except Refusal as refusal:
        logger.warning("apple_sign_in_failed", error=refusal.type)
        raise
    logger.info("apple_sign_in_success", user_id=str(signed_in.user_id), merged=signed_in.merged)
    return signed_in


@transaction.atomic(durable=True)
def complete_sign_in(
    *, session_id: UUID, identity: Identity, refresh_token: str | None, now: datetime
) -> SignedIn:
    """Step 3, with Apple's `refresh_token`. Raises as sign_in_with_apple does."""
    spent = {"expires_at": identity.expires_at}
    if not UsedToken.objects.get_or_create(name=identity.fingerprint, defaults=spent)[1]:
        raise InvalidIdentity
    apple = _lock_identity(identity, caller_id=_user_of_session(session_id, now=now).id, now=now)
    # Read again: while this call waited for the lock, its user may have been merged.
    caller_id, account_id = _user_of_session(session_id, now=now).id, apple.user_id
    credit_services.lock_wallets(user_ids={caller_id, account_id})
    users = {
        user.id: user
        for user in User.objects.select_for_update(no_key=True)
        .filter(id__in={caller_id, account_id})
        .order_by("id")
    }
    caller, account = users[caller_id], users[account_id]
    _check_can_sign_in(caller, account)
    merged = caller.id != account.id
    was_guest = account.is_guest
    if merged:
        _merge(caller, account, now=now)
    _save_identity(apple, account, identity, refresh_token, now=now)
    of = related_users.PersonKeyKind.APPLE_ACCOUNT
    related_users.link_person(user_id=account.id, of=of, value=identity.sub, now=now)
    return SignedIn(
        user_id=account.id,
        merged=merged,
        credits_remaining=credit_services.balance_of(account.id).balance,
        session=_open_account_session(session_id, account, was_guest=was_guest, now=now),
    )


def _open_account_session(
    session_id: UUID, account: User, *, was_guest: bool, now: datetime
) -> IssuedSession:
    """Open the account's session on this phone and end the guest's other sessions.

    A guest session in other hands must not become a session of the account. A merge has ended the
    guest's sessions already. The account's sessions on other phones stay: a sign-in may be repeated
    because its response was lost.
    """
    if was_guest:
        session = Session.objects.get(id=session_id)
        return continue_as_only_session(session=session, user=account, now=now)
    session = Session.objects.select_for_update(of=("self",)).get(id=session_id)
    return open_session(user=account, device=session.device, now=now, replaces=session)


def _check_early(session_id: UUID, identity: Identity, *, now: datetime) -> None:
    if UsedToken.objects.filter(name=identity.fingerprint).exists():
        raise InvalidIdentity
    caller = _user_of_session(session_id, now=now)
    apple = AppleIdentity.objects.select_related("user").filter(sub=identity.sub).first()
    if apple is None and not caller.is_guest:
        raise InvalidState
    _check_can_sign_in(caller, apple.user if apple else caller)


def _check_can_sign_in(caller: User, account: User) -> None:
    if caller.suspended_at or account.suspended_at:
        raise AccountSuspended
    if caller.is_guest and caller.hardware_banned_at:
        raise AccountSuspended  # else signing in would end the hardware's ban
    if caller.closed_at or account.closed_at:
        raise Unauthorized
    if caller.id != account.id and not caller.is_guest:
        raise InvalidState


def _user_of_session(session_id: UUID, *, now: datetime) -> User:
    """The user of the session; of a merged guest, the account. Raises Unauthorized."""
    session = find_session(session_id, now=now)
    if session is None:
        raise Unauthorized
    return session.user


def _lock_identity(identity: Identity, *, caller_id: UUID, now: datetime) -> AppleIdentity:
    """Lock the Apple account's identity; a new one becomes the caller's.

    If two calls bring a new one at once, the second waits at the insert and finds the first's.
    """
    try:
        AppleIdentity.objects.get_or_create(
            sub=identity.sub,
            defaults={
                "user_id": caller_id,
                "client_id": identity.client_id,
                "created_at": now,
                "last_sign_in_at": now,
            },
        )
    except IntegrityError:
        raise InvalidState from None  # the caller has another one
    try:
        return AppleIdentity.objects.select_for_update().get(sub=identity.sub)
    except AppleIdentity.DoesNotExist:
        raise IdentityServiceUnavailable from None  # its account was just deleted: try again


def _save_identity(
    apple: AppleIdentity,
    account: User,
    identity: Identity,
    refresh_token: str | None,
    *,
    now: datetime,
) -> None:
    """Store the data of this sign-in. Apple sometimes omits the address."""
    if identity.email:
        apple.email = account.email = identity.email
        apple.email_verified = identity.email_verified
        apple.is_private_email = identity.is_private_email
    if refresh_token:
        apple.refresh_token_encrypted = identity_tokens.encrypt(refresh_token)
        apple.client_id = identity.client_id
    apple.last_sign_in_at = now
    apple.unlinked_at = None
    apple.save()
    account.is_guest = False
    account.save(update_fields=["is_guest", "email", "welcomed_at", "updated_at"])


def _merge(guest: User, account: User, *, now: datetime) -> None:
    """Move everything of the guest to the account, and close the guest.

    The caller has both wallets and both users locked.
    """
    credit_services.merge(from_user_id=guest.id, into_user_id=account.id, now=now)
    idempotency.reassign(from_user_id=guest.id, into_user_id=account.id)
    Device.objects.filter(user=guest).update(user=account)
    _unlink_surplus_devices(account)
    Consent.objects.filter(user=guest).update(user=account)
    related_users.move_keys(from_user_id=guest.id, into_user_id=account.id)
    account.welcomed_at = account.welcomed_at or guest.welcomed_at
    users_merged.send(sender=User, from_user_id=guest.id, into_user_id=account.id, now=now)
    guest.closed_at = now
    guest.save(update_fields=["closed_at", "updated_at"])
    revoke_user_sessions(user_id=guest.id, reason=RevokedReason.MERGE, now=now)
    # After the sessions, as in register_push_token, and after the jobs, which notify this user.
    PushToken.objects.filter(user=guest).update(user=account)
    Push.objects.filter(user=guest).update(user=account)
    logger.info("guest_merged", guest_id=str(guest.id), user_id=str(account.id))


def _unlink_surplus_devices(account: User) -> None:
    """Keep the MAX_DEVICES devices of the account that were seen last. The others have no user, as
    after a logout."""
    devices = Device.objects.filter(user=account)
    surplus = devices.order_by("-last_seen_at", "device_id").values("device_id")[MAX_DEVICES:]
    devices.filter(device_id__in=list(surplus.values_list("device_id", flat=True))).update(
        user=None
    )
