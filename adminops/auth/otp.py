"""The second factor of staff: TOTP codes and recovery codes.

A member of staff enters six digits from an authenticator app (TOTP, RFC 6238), or a recovery code.
The app is set up at the first sign-in, for the first member of staff too. Recovery codes are
created with the app; each works once. A wrong code delays the next attempt, twice as long each
time, at most half an hour: an attacker needs the password to cause a delay, and a delay ends. If
both the phone and the recovery codes are lost, another member of staff or `manage.py
reset_second_factor` resets the second factor.
"""

from __future__ import annotations

import math
import time
from typing import Any, TypeAlias

import structlog
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import User
from rendio.common import clock

logger = structlog.get_logger(__name__)

DIGITS = 6
# Steps of 30 seconds that a code may be early or late.
TOLERANCE_STEPS = 1
# The delay after n wrong codes is 2^(n - 1) seconds. django-otp has no useful maximum.
MAX_FAILURES = 12
RECOVERY_CODES = 10

Device: TypeAlias = TOTPDevice | StaticDevice


def is_verified(user: Any) -> bool:
    """Whether the session of this request's user needs no second factor any more. (The user has
    `is_verified` from django-otp's middleware, without a type.)"""
    return not settings.REQUIRE_SECOND_FACTOR or bool(user.is_verified())


def is_required_for(user: User | AnonymousUser) -> bool:
    """Whether this is a member of staff who has given the password but not the second factor."""
    return isinstance(user, User) and user.is_active and user.is_staff and not is_verified(user)


def find_totp_device(user: User) -> TOTPDevice | None:
    found: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return found


@transaction.atomic
def verify_code(user: User, *, code: str) -> tuple[Device | None, str]:
    """Verify a TOTP or recovery code. Returns its device, or None and the error message.

    Locks the user, so that a code works once.
    """
    _lock(user)
    device = find_totp_device(user) if len(code) == DIGITS else _get_static_device(user)
    if device is None:
        return None, "The authenticator app is no longer set up."
    allowed, why = device.verify_is_allowed()
    if not allowed:
        seconds = (why["locked_until"] - clock.now()).total_seconds()
        return None, f"Too many wrong codes. Try again in {math.ceil(seconds)} seconds."
    device.throttling_failure_count = min(device.throttling_failure_count, MAX_FAILURES - 1)
    if device.verify_token(code):
        return device, ""
    logger.warning("second_factor_wrong", user_id=str(user.id))
    return None, "This code is not current, or was used before."


@transaction.atomic
def enroll_device(user: User, *, key: str, code: str) -> tuple[TOTPDevice | None, str]:
    """Create the user's TOTP device from its key (hexadecimal) and first code. Returns the device,
    or None and the error message.

    Locks the user, so that a user gets one device at most.
    """
    _lock(user)
    if find_totp_device(user):
        return None, "An authenticator app was set up meanwhile. Enter its current code."
    device = TOTPDevice(user=user, name="app", key=key)
    moment = TOTP(device.bin_key)
    moment.time = time.time()
    if not (key and len(code) == DIGITS and moment.verify(int(code), TOLERANCE_STEPS)):
        return None, "This code is not current. Check the clock of your phone."
    device.last_t = moment.t()
    device.save()
    logger.warning("second_factor_set_up", user_id=str(user.id))
    return device, ""


@transaction.atomic
def create_recovery_codes(user: User) -> list[str]:
    """Replace the user's recovery codes; returns the new codes, which are shown once."""
    _lock(user)
    device = _get_static_device(user)
    device.token_set.all().delete()
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    logger.warning("recovery_codes_created", user_id=str(user.id))
    return codes


def count_recovery_codes(user: User) -> int:
    left: int = StaticToken.objects.filter(device__user=user).count()
    return left


def delete_devices(user: User) -> int:
    """Delete the user's app and recovery codes; returns the number of apps deleted. Sessions of the
    user are no longer verified. Joins the caller's transaction, if there is one."""
    StaticDevice.objects.filter(user=user).delete()
    deleted, _ = TOTPDevice.objects.filter(user=user).delete()
    logger.warning("second_factor_deleted", user_id=str(user.id))
    return int(deleted)


def _lock(user: User) -> None:
    User.objects.select_for_update().get(id=user.id)


def _get_static_device(user: User) -> StaticDevice:
    """The device with the user's recovery codes; created if missing, as in older accounts."""
    device: StaticDevice
    device, _ = StaticDevice.objects.get_or_create(user=user, defaults={"name": "recovery codes"})
    return device
