"""Device check: from Apple's word about a phone to a user with a session.

The welcome credits are given once per piece of hardware, whatever is reinstalled, retried or dies
half way: never twice, and never lost. Apple's bit and our commit cannot be one transaction, so the
order is

    0. check the installation's secret and the key that signed the call, if any
                                                        its challenge is used up
    1. ask Apple for the bits                           nothing else of ours has changed
    2. commit a WelcomeClaim                            "the bit may be ours from here on"
    3. set Apple's bit                                  repeated by every retry
    4. commit user, wallet, grant, device and session   the claim is spent in this transaction

A crash after 2 or 3 leaves an open claim, and the retry goes on from it even if it then reads the
bit as set. What stays possible: hardware that sends two different tokens under two device_ids in
the same instant is seen as new twice (Apple offers no compare-and-set), and a phone that is wiped
between our crash and its retry has lost its claim, since nothing then tells that it is the same
phone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from accounts import devicecheck, installations
from accounts.devicecheck import Bits
from accounts.errors import (
    AccountSuspended,
    AppleOutcomeUnknown,
    IdentityServiceUnavailable,
    InvalidDevice,
    Unauthorized,
)
from accounts.models import Device, User, WelcomeClaim, WelcomeClaimQuerySet
from accounts.services.attestation import SignedCall, require_attested
from accounts.services.installations import InstallationProof, prove, require_proof
from accounts.services.sessions import IssuedSession, open_session
from credits import services as credit_services
from rendio.common.errors import Refusal

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CheckedDevice:
    user_id: UUID
    is_new: bool
    is_guest: bool
    credits_remaining: int
    session: IssuedSession


def check_device(
    *,
    device_id: UUID,
    device_token: str,
    proof: InstallationProof,
    app_attest: SignedCall | None,
    now: datetime,
) -> CheckedDevice:
    """Sign the device's user in; a device that we have not seen gets a guest.

    Calls Apple, so it must not run inside a transaction. Raises InvalidDevice,
    IdentityServiceUnavailable (nothing is lost, the phone tries again), AccountSuspended.
    """
    public_id = installations.public_id(device_id)
    try:
        public_id = require_proof(device_id=device_id, proof=proof, now=now)
        require_attested(
            device_id=device_id,
            device_token=device_token,
            installation_secret=proof.secret,
            signed=app_attest,
            now=now,
        )
        bits = devicecheck.query_bits(device_token)
        claimed = claim_welcome(
            device_id=device_id, device_token=device_token, had_welcome=bits.bit0, now=now
        )
        if claimed:
            mark_welcomed(device_token=device_token, bits=bits)
        checked = settle(
            device_id=device_id,
            device_token=device_token,
            proof=proof,
            may_welcome=claimed,
            now=now,
        )
    except Refusal as refusal:
        logger.warning(
            "device_check_failed", device=public_id, error=refusal.code.name, **refusal.details
        )
        raise
    if checked.is_new:
        logger.info("user_created", user_id=str(checked.user_id))
    logger.info(
        "device_check_success",
        device=public_id,
        user_id=str(checked.user_id),
        is_new=checked.is_new,
    )
    return checked


@transaction.atomic(durable=True)
def claim_welcome(*, device_id: UUID, device_token: str, had_welcome: bool, now: datetime) -> bool:
    """Step 2: whether this phone is to get the welcome; if so, that is now on record.

    A bit that is set (`had_welcome`) speaks against it, unless a claim of ours may have set it.
    """
    if Device.objects.filter(device_id=device_id).exists():
        return False
    token_hash = hash_token(device_token)
    claims = WelcomeClaim.objects.about(device_id=device_id, token_hash=token_hash)
    if claims.decided().exists():
        return False
    if had_welcome and not claims.filter(updates_in_doubt__gt=0).exists():
        return False
    WelcomeClaim.objects.get_or_create(
        token_hash=token_hash, defaults={"device_id": device_id, "started_at": now}
    )
    _count_in_doubt(token_hash, 1)
    return True


def mark_welcomed(*, device_token: str, bits: Bits) -> None:
    """Step 3: tell Apple. Raises InvalidDevice, IdentityServiceUnavailable.

    Where Apple surely did nothing the claim says so again. Otherwise an outage would let one phone
    collect claims under many device_ids, each of which could pass for the one that set the bit.
    """
    try:
        devicecheck.update_bits(device_token, Bits(bit0=True, bit1=bits.bit1))
    except AppleOutcomeUnknown:
        raise
    except (InvalidDevice, IdentityServiceUnavailable):
        _count_in_doubt(hash_token(device_token), -1)
        raise


@transaction.atomic(durable=True)
def settle(
    *,
    device_id: UUID,
    device_token: str,
    proof: InstallationProof,
    may_welcome: bool,
    now: datetime,
) -> CheckedDevice:
    """Step 4: the device's user, made if need be, and a session.

    `may_welcome` says that this call claimed the welcome and told Apple. Raises InvalidDevice where
    a parallel call stored another secret first, AccountSuspended, Unauthorized for an account that
    is closed.
    """
    claims = WelcomeClaim.objects.none()
    if may_welcome:
        claims = _locked_claims(device_id=device_id, token_hash=hash_token(device_token))
    is_due = may_welcome and not claims.decided().exists()
    # Called only if needed; whoever loses the race for the device takes its guest back.
    fields: dict[str, Any] = {
        "user": lambda: _create_guest(now=now),
        "secret_hash": installations.hash_secret(device_id=device_id, secret=proof.secret),
        "stored_public_id": installations.public_id(device_id),
        "created_at": now,
        "last_seen_at": now,
    }
    device, is_new = Device.objects.get_or_create(device_id=device_id, defaults=fields)
    if is_new and device.user is not None:
        user = device.user
        if is_due:
            _welcome(user, now=now)
    else:
        try:
            user, is_new = _admit(device, proof=proof, now=now)
        except Device.DoesNotExist:
            raise Unauthorized from None  # its user has just left, and the device with them
    claims.filter(granted_at=None).update(granted_at=now, user=user)
    return CheckedDevice(
        user_id=user.id,
        is_new=is_new,
        is_guest=user.is_guest,
        credits_remaining=credit_services.balance_of(user.id).balance,
        session=open_session(user=user, device=device, now=now),
    )


def hash_token(device_token: str) -> str:
    return hashlib.sha256(device_token.encode()).hexdigest()


def _locked_claims(*, device_id: UUID, token_hash: str) -> WelcomeClaimQuerySet:
    """The claims that this decision is about; of two calls with one token, the second waits here.

    Exactly the locked ones, locked in one order for all: to touch a later one is a deadlock.
    """
    claims = WelcomeClaim.objects.about(device_id=device_id, token_hash=token_hash)
    locked = list(claims.select_for_update().values_list("token_hash", flat=True))
    return WelcomeClaim.objects.filter(token_hash__in=locked)


def _count_in_doubt(token_hash: str, change: int) -> None:
    WelcomeClaim.objects.filter(token_hash=token_hash).update(
        updates_in_doubt=F("updates_in_doubt") + change
    )


def _create_guest(*, now: datetime) -> User:
    user = User.objects.create_guest(now=now)
    credit_services.open_wallet(user_id=user.id)
    return user


def _welcome(user: User, *, now: datetime) -> None:
    if settings.WELCOME_CREDITS:
        credit_services.grant(
            user_id=user.id,
            amount=settings.WELCOME_CREDITS,
            source=credit_services.Source.WELCOME,
            reason="welcome",
            now=now,
        )
    user.welcomed_at = now
    user.save(update_fields=["welcomed_at", "updated_at"])


def _admit(device: Device, *, proof: InstallationProof, now: datetime) -> tuple[User, bool]:
    """The known device's user, locked so that a ban and this sign-in cannot pass each other.

    Only for the device's own installation: raises InvalidDevice for others.

    An account that signed out on the device has left it: then a guest is made, without a welcome,
    since the hardware has had its own. Returns whether that was so.
    """
    user = _locked_user(device)
    is_new = user is None and _give_to_a_guest(device, now=now)
    if user is None:
        device.refresh_from_db(fields=["user"])
        user = _locked_user(device)
    if user is None:
        raise Unauthorized  # left again at this moment
    prove(device, proof=proof, now=now)
    if user.suspended_at:
        raise AccountSuspended
    if user.closed_at:
        raise Unauthorized
    device.last_seen_at = now
    device.save(update_fields=["last_seen_at"])
    return user, is_new


def _give_to_a_guest(device: Device, *, now: datetime) -> bool:
    """By compare-and-set, since the user is locked before the device; False: another was quicker,
    and no guest is made."""
    with transaction.atomic():
        left = Device.objects.filter(device_id=device.device_id, user=None)
        given = left.update(user=_create_guest(now=now)) == 1
        if not given:
            transaction.set_rollback(True)
    return given


def _locked_user(device: Device) -> User | None:
    """Whose it is; what was waited for (a merge, a sign-out) may have given it to another."""
    user = None
    while device.user_id and (user is None or user.id != device.user_id):
        user = User.objects.select_for_update(no_key=True).get(id=device.user_id)
        device.refresh_from_db(fields=["user"])
    return user if device.user_id else None
