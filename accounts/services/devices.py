"""Device check: sign in the user of a device by Apple's DeviceCheck token.

The order is

    0. check the installation's secret and the key that signed the call, if any;
       its challenge is used up, and the limiter counts the call
    1. query Apple's bits; new hardware wins its welcome, one phone at a time
       (services.welcome describes crashes and races)
    2. commit user, wallet, grant, device and session
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import structlog
from django.db import transaction

from accounts import installations
from accounts.apple import device_check
from accounts.models import Device, User, WelcomeClaim
from accounts.services import hardware_bans, welcome
from accounts.services.attestation import AssertedCall, check_assertion
from accounts.services.installations import InstallationProof, check_proof, verify_and_store_secret
from accounts.services.sessions import IssuedSession, open_session
from accounts.services.welcome import ClaimResult, WelcomeStatus
from credits import services as credit_services
from credits.errors import AccountSuspended
from rendio.common.errors import RateLimited, Refusal, Unauthorized

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CheckedDevice:
    user_id: UUID
    is_new: bool
    is_guest: bool
    credits_remaining: int
    session: IssuedSession


class CheckLimiter(Protocol):
    """Counts a device check by its proof so far. Each method may refuse the call."""

    def count_known(self, public_id: str) -> None:
        """The installation is known and sent its secret."""

    def count_first_check(self, *, is_attested: bool) -> None:
        """An unknown installation, before Apple is asked. `is_attested`: a key that Apple attests
        signed the call."""

    def count_reinstall(self) -> None:
        """An unknown installation on hardware that had its welcome."""


def check_device(
    *,
    device_id: UUID,
    device_token: str,
    proof: InstallationProof,
    app_attest: AssertedCall | None,
    limiter: CheckLimiter,
    now: datetime,
) -> CheckedDevice:
    """Sign in the device's user; an unknown device gets a new guest.

    Calls Apple: must not run inside a transaction. Raises InvalidDevice, IdentityServiceUnavailable
    (nothing is lost, the phone retries), AccountSuspended, and the limiter's errors.
    """
    public_id = installations.public_id(device_id)
    try:
        known = check_proof(device_id=device_id, proof=proof, now=now)
        if known is not None:
            public_id = known.public_id
            limiter.count_known(public_id)
        check_assertion(
            device_id=device_id,
            device_token=device_token,
            installation_secret=proof.secret,
            signed=app_attest,
            now=now,
        )
        if known is None:
            limiter.count_first_check(is_attested=app_attest is not None)
        claimed = _query_apple(device_id=device_id, device_token=device_token, now=now)
        if known is None and claimed.status == WelcomeStatus.NOT_DUE:
            limiter.count_reinstall()
        checked = complete_device_check(
            device_id=device_id,
            device_token=device_token,
            proof=proof,
            welcome_status=claimed.status,
            is_banned=hardware_bans.is_banned(claimed.bits, device_id=device_id),
            now=now,
        )
        if isinstance(checked, Refusal):
            raise checked
    except RateLimited:
        raise  # not a failure of the device, and too many to log
    except Refusal as refusal:
        if isinstance(refusal, AccountSuspended) and not claimed.bits.bit1:
            hardware_bans.ban_device(device_id=device_id, device_token=device_token, now=now)
        logger.warning(
            "device_check_failed", device=public_id, error=refusal.type, **refusal.details
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


def _query_apple(*, device_id: UUID, device_token: str, now: datetime) -> ClaimResult:
    """The hardware's bits, and the status of its welcome. Raises InvalidDevice,
    IdentityServiceUnavailable."""
    if Device.objects.filter(device_id=device_id).exists():
        return ClaimResult(device_check.query_bits(device_token), WelcomeStatus.NOT_DUE)
    return welcome.claim_welcome(device_id=device_id, device_token=device_token, now=now)


@transaction.atomic(durable=True)
def complete_device_check(
    *,
    device_id: UUID,
    device_token: str,
    proof: InstallationProof,
    welcome_status: WelcomeStatus,
    is_banned: bool,
    now: datetime,
) -> CheckedDevice | Refusal:
    """Step 2: the device's user, created if needed, and a session.

    `is_banned`: somebody was banned on this hardware. Raises InvalidDevice if a parallel call
    stored another secret first, AccountSuspended, and Unauthorized for a closed account. Returns
    the refusal of an account on banned hardware, so that the transaction commits and the ban is
    noted.
    """
    token_hash = welcome.hash_token(device_token)
    claims = WelcomeClaim.objects.none()
    if welcome_status == WelcomeStatus.DUE:
        claims = welcome.lock_claims(device_id=device_id, token_hash=token_hash)
    is_due = welcome_status == WelcomeStatus.DUE and not claims.decided().exists()
    # Called only if needed; the call that loses the race for the device rolls its guest back.
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
            welcome.grant_welcome(user, now=now)
        claims.filter(granted_at=None).update(granted_at=now, user=user)
        if welcome_status == WelcomeStatus.WAITING:
            welcome.grant_later(device_id=device_id, device_token=device_token, now=now)
        hardware_bans.sync_hardware_ban(user, is_banned=is_banned, now=now)
    else:
        if is_due:
            # A parallel call let the phone in first, to wait for the credits that this call won.
            welcome.grant_later(device_id=device_id, device_token=device_token, now=now)
        welcome.retry_with_token(device_id=device_id, device_token=device_token, now=now)
        hardware_bans.lock_wallet(device, is_banned=is_banned)
        try:
            user, is_new = _lock_and_check_user(device, proof=proof, now=now)
        except Device.DoesNotExist:
            raise Unauthorized from None  # its user was just deleted, and the device with it
        hardware_bans.sync_hardware_ban(user, is_banned=is_banned, now=now)
        if is_banned and not user.is_guest:
            return AccountSuspended()
    hardware_bans.store_token(device_id=device_id, device_token=device_token, now=now)
    return CheckedDevice(
        user_id=user.id,
        is_new=is_new,
        is_guest=user.is_guest,
        credits_remaining=credit_services.balance_of(user.id).balance,
        session=open_session(user=user, device=device, now=now),
    )


def _create_guest(*, now: datetime) -> User:
    user = User.objects.create_guest(now=now)
    credit_services.open_wallet(user_id=user.id)
    return user


def _lock_and_check_user(
    device: Device, *, proof: InstallationProof, now: datetime
) -> tuple[User, bool]:
    """Lock the known device's user, so that a ban and this sign-in exclude each other.

    Only for the device's own installation: raises InvalidDevice for others. If an account signed
    out on the device, a new guest is created, without a welcome: the hardware had its own. The
    second value says whether that happened.
    """
    user = _lock_user(device)
    is_new = user is None and _assign_to_new_guest(device, now=now)
    if user is None:
        device.refresh_from_db(fields=["user"])
        user = _lock_user(device)
    if user is None:
        raise Unauthorized  # unlinked again at this moment
    verify_and_store_secret(device, proof=proof, now=now)
    if user.suspended_at:
        raise AccountSuspended
    if user.closed_at:
        raise Unauthorized
    device.last_seen_at = now
    device.save(update_fields=["last_seen_at"])
    return user, is_new


def _assign_to_new_guest(device: Device, *, now: datetime) -> bool:
    """Compare-and-set, since the user is locked before the device. False: another call was faster,
    and no guest is created."""
    with transaction.atomic():
        left = Device.objects.filter(device_id=device.device_id, user=None)
        given = left.update(user=_create_guest(now=now)) == 1
        if not given:
            transaction.set_rollback(True)
    return given


def _lock_user(device: Device) -> User | None:
    """Lock the device's current user. A merge or logout that the lock waited for may have changed
    who that is."""
    user = None
    while device.user_id and (user is None or user.id != device.user_id):
        user = User.objects.select_for_update(no_key=True).get(id=device.user_id)
        device.refresh_from_db(fields=["user"])
    return user if device.user_id else None
