"""What a member of staff shows beside the password.

Six digits from an app on their phone (TOTP, RFC 6238), which whoever has none yet sets up when they
sign in, the first member of staff included; or a recovery code, of which some are made with the app
and each is good once. What was typed wrong delays the next try, twice as long each time and half an
hour at most: one needs the password for that, and nobody is kept out for ever. A phone that is lost
together with its recovery codes is forgotten by another member of staff, or by `manage.py
reset_second_factor`.
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
# Of 30 seconds each, before and after now.
TOLERANCE_STEPS = 1
# The wait after n wrong codes is 2^(n - 1) seconds; django-otp's own end is at a hundred years.
MOST_FAILURES = 12
RECOVERY_CODES = 10

Device: TypeAlias = TOTPDevice | StaticDevice


def is_shown(user: Any) -> bool:
    """Whether the session of this request's user needs no further proof. (django-otp's middleware
    gives it `is_verified`, which no type tells.)"""
    return not settings.REQUIRE_SECOND_FACTOR or bool(user.is_verified())


def is_asked_of(user: User | AnonymousUser) -> bool:
    """Whether this is a member of staff who has shown the password and nothing else."""
    return isinstance(user, User) and user.is_active and user.is_staff and not is_shown(user)


def app_of(user: User) -> TOTPDevice | None:
    found: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return found


@transaction.atomic
def check(user: User, *, code: str) -> tuple[Device | None, str]:
    """The user's device that this code is from; else what is wrong.

    Under the user's lock, so that a code counts once.
    """
    _lock(user)
    device = app_of(user) if len(code) == DIGITS else _recovery_of(user)
    if device is None:
        return None, "No app is set up any more."
    allowed, why = device.verify_is_allowed()
    if not allowed:
        seconds = (why["locked_until"] - clock.now()).total_seconds()
        return None, f"Too many wrong codes. Try again in {math.ceil(seconds)} seconds."
    device.throttling_failure_count = min(device.throttling_failure_count, MOST_FAILURES - 1)
    if device.verify_token(code):
        return device, ""
    logger.warning("second_factor_wrong", user_id=str(user.id))
    return None, "This is not the code of the moment, or it was used before."


@transaction.atomic
def set_up(user: User, *, key: str, code: str) -> tuple[TOTPDevice | None, str]:
    """The app that has this key (hexadecimal), set up by its first code; else what is wrong.

    Under the user's lock, so that nobody sets up two.
    """
    _lock(user)
    if app_of(user):
        return None, "An app was set up meanwhile. Enter the code that it shows."
    device = TOTPDevice(user=user, name="app", key=key)
    moment = TOTP(device.bin_key)
    moment.time = time.time()
    if not (key and len(code) == DIGITS and moment.verify(int(code), TOLERANCE_STEPS)):
        return None, "This is not the code of the moment. Is the clock of your phone right?"
    device.last_t = moment.t()
    device.save()
    logger.warning("second_factor_set_up", user_id=str(user.id))
    return device, ""


@transaction.atomic
def make_recovery_codes(user: User) -> list[str]:
    """New ones, to be shown once; those from before are good no more."""
    _lock(user)
    device = _recovery_of(user)
    device.token_set.all().delete()
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    logger.warning("recovery_codes_made", user_id=str(user.id))
    return codes


def recovery_codes_left(user: User) -> int:
    left: int = StaticToken.objects.filter(device__user=user).count()
    return left


def forget(user: User) -> int:
    """Forget the user's app and recovery codes, and with them what their sessions have shown;
    returns how many apps there were. Joins the caller's transaction, if there is one."""
    StaticDevice.objects.filter(user=user).delete()
    forgotten, _ = TOTPDevice.objects.filter(user=user).delete()
    logger.warning("second_factor_forgotten", user_id=str(user.id))
    return int(forgotten)


def _lock(user: User) -> None:
    User.objects.select_for_update().get(id=user.id)


def _recovery_of(user: User) -> StaticDevice:
    """What the user's recovery codes hang on; made for who was there before there were any."""
    device: StaticDevice
    device, _ = StaticDevice.objects.get_or_create(user=user, defaults={"name": "recovery codes"})
    return device
