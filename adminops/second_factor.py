"""The staff's second factor: six digits from an app on their phone (TOTP, RFC 6238).

Whoever has a password and no app yet sets one up when they sign in, the first member of staff
included. What was typed wrong delays the next try, twice as long each time and half an hour at
most: one needs the password for that, and nobody is kept out for ever. A phone that is lost is
forgotten by `manage.py reset_second_factor`.
"""

from __future__ import annotations

import math
import time
from base64 import b32encode
from typing import Any

import qrcode
import qrcode.image.svg
import structlog
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_otp import login
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.util import random_hex
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import User

logger = structlog.get_logger(__name__)

# The key that is being set up stays with the browser's session: nobody else is ever shown it.
PENDING = "second_factor_key"
# Of 30 seconds each, before and after now.
TOLERANCE_STEPS = 1
# The wait after n wrong codes is 2^(n - 1) seconds; django-otp's own end is at a hundred years.
MOST_FAILURES = 12


def is_shown(user: Any) -> bool:
    """Whether the session of this request's user needs no further proof. (django-otp's middleware
    gives it `is_verified`, which no type tells.)"""
    return not settings.REQUIRE_SECOND_FACTOR or bool(user.is_verified())


def is_asked_of(user: User | AnonymousUser) -> bool:
    """Whether this is a member of staff who has shown the password and nothing else."""
    return isinstance(user, User) and user.is_active and user.is_staff and not is_shown(user)


def address(request: HttpRequest) -> str:
    """The page, which leads on to where the request was going."""
    going_to = request.GET.get(REDIRECT_FIELD_NAME, "")
    return f"{reverse('second-factor')}?{urlencode({REDIRECT_FIELD_NAME: going_to})}"


class CodeForm(forms.Form):
    code = forms.RegexField(
        r"^\d{6}$",
        label="Code from your app",
        error_messages={"invalid": "Six digits."},
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )


@never_cache
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Asks for a code; of who has no app yet, after showing how to set it up."""
    user = request.user
    if not (isinstance(user, User) and is_asked_of(user)):
        return redirect("admin:index")
    if "leave" in request.POST:
        logout(request)
        return redirect("admin:login")
    form = CodeForm(request.POST or None)
    if form.is_valid():
        device, problem = _check(request, user, form.cleaned_data["code"])
        if device is not None:
            login(request, device)
            # Who knew the session before the proof does not have it after.
            request.session.cycle_key()
            return redirect(_going_to(request))
        form.add_error("code", problem)
    return TemplateResponse(
        request, "adminops/second_factor.html", _context(request, user) | {"form": form}
    )


@transaction.atomic
def _check(request: HttpRequest, user: User, code: str) -> tuple[TOTPDevice | None, str]:
    """The device that this code is from, set up by it if it is the first; else what is wrong.

    Under the user's lock, so that a code counts once and nobody sets up two devices at once.
    """
    User.objects.select_for_update().get(id=user.id)
    device = _device_of(user)
    if device is None:
        return _set_up(request, user, code)
    allowed, why = device.verify_is_allowed()
    if not allowed:
        seconds = (why["locked_until"] - timezone.now()).total_seconds()
        return None, f"Too many wrong codes. Try again in {math.ceil(seconds)} seconds."
    device.throttling_failure_count = min(device.throttling_failure_count, MOST_FAILURES - 1)
    if device.verify_token(code):
        return device, ""
    logger.warning("second_factor_wrong", user_id=str(user.id))
    return None, "This is not the code of the moment, or it was used before."


def _set_up(request: HttpRequest, user: User, code: str) -> tuple[TOTPDevice | None, str]:
    device = TOTPDevice(user=user, name="app", key=request.session.get(PENDING, ""))
    moment = TOTP(device.bin_key)
    moment.time = time.time()
    if not (device.key and moment.verify(int(code), TOLERANCE_STEPS)):
        return None, "This is not the code of the moment. Is the clock of your phone right?"
    device.last_t = moment.t()
    device.save()
    del request.session[PENDING]
    logger.warning("second_factor_set_up", user_id=str(user.id))
    return device, ""


def _device_of(user: User) -> TOTPDevice | None:
    found: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return found


def _context(request: HttpRequest, user: User) -> dict[str, Any]:
    context = admin.site.each_context(request) | {"title": "Second factor"}
    if _device_of(user) is None:
        device = TOTPDevice(user=user, key=request.session.setdefault(PENDING, random_hex()))
        context |= {"picture": _picture(device), "key": b32encode(device.bin_key).decode()}
    return context


def _picture(device: TOTPDevice) -> SafeString:
    """What the app's camera reads, drawn into the page: no other request may carry the key."""
    drawn = qrcode.make(
        device.config_url, image_factory=qrcode.image.svg.SvgPathImage, border=2, box_size=14
    )
    svg: str = drawn.to_string().decode()
    return mark_safe(svg)  # noqa: S308 - of our own making


def _going_to(request: HttpRequest) -> str:
    wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("admin:index")


def forget(user: User) -> int:
    """Forget the user's apps, and with them what their sessions have shown; returns how many."""
    forgotten, _ = TOTPDevice.objects.filter(user=user).delete()
    logger.warning("second_factor_forgotten", user_id=str(user.id))
    return int(forgotten)
