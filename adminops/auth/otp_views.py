"""Where the second factor is asked for and set up, and where recovery codes are made anew."""

from __future__ import annotations

from base64 import b32encode
from typing import Any

import qrcode
import qrcode.image.svg
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_otp import login
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.util import random_hex
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import User
from adminops.auth import otp

# The key that is being set up stays with the browser's session: nobody else is ever shown it.
PENDING = "second_factor_key"


def address(request: HttpRequest) -> str:
    """The page, which leads on to where the request was going."""
    going_to = request.GET.get(REDIRECT_FIELD_NAME, "")
    return f"{reverse('admin:second_factor')}?{urlencode({REDIRECT_FIELD_NAME: going_to})}"


class CodeField(forms.RegexField):
    def to_python(self, value: Any) -> str:
        """As it is kept: a recovery code may be written in capitals and with gaps."""
        return str(super().to_python(value)).replace(" ", "").replace("-", "").lower()


class CodeForm(forms.Form):
    code = CodeField(
        r"^([0-9]{6}|[a-z2-7]{8})$",
        label="Code from your app, or a recovery code",
        error_messages={"invalid": "Six digits, or a recovery code of eight letters and digits."},
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autofocus": True}
        ),
    )


@never_cache
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Asks for a code; of who has no app yet, after showing how to set it up."""
    user = request.user
    if not (isinstance(user, User) and otp.is_asked_of(user)):
        return redirect("admin:index")
    if "leave" in request.POST:
        logout(request)
        return redirect("admin:login")
    ask = _ask if otp.app_of(user) else _set_up
    return ask(request, user, CodeForm(request.POST or None))


def _ask(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    if form.is_valid():
        device, problem = otp.check(user, code=form.cleaned_data["code"])
        if device is not None:
            _let_in(request, device)
            return redirect(_going_to(request))
        form.add_error("code", problem)
    return _answer(request, "second_factor", "Second factor", form=form)


def _set_up(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    key = request.session.setdefault(PENDING, random_hex())
    if form.is_valid():
        device, problem = otp.set_up(user, key=key, code=form.cleaned_data["code"])
        if device is not None:
            del request.session[PENDING]
            _let_in(request, device)
            return _show_new_codes(request, user)
        form.add_error("code", problem)
    device = TOTPDevice(user=user, key=key)
    shown = {"picture": _picture(device), "key": b32encode(device.bin_key).decode()}
    return _answer(request, "second_factor", "Second factor", form=form, **shown)


def _let_in(request: HttpRequest, device: otp.Device) -> None:
    login(request, device)
    # Who knew the session before the proof does not have it after.
    request.session.cycle_key()
    if isinstance(device, StaticDevice):
        left = otp.recovery_codes_left(device.user)
        messages.warning(
            request,
            f"That recovery code is used up; {left} are left. The sidebar leads to new ones.",
        )


@never_cache
@require_http_methods(["GET", "POST"])
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Makes new ones, for a code: whoever finds the browser open has none."""
    user: Any = request.user
    if not (user.is_authenticated and user.is_verified() and otp.app_of(user)):
        return redirect("admin:index")
    form = CodeForm(request.POST or None)
    if form.is_valid():
        device, problem = otp.check(user, code=form.cleaned_data["code"])
        if device is not None:
            return _show_new_codes(request, user)
        form.add_error("code", problem)
    left = otp.recovery_codes_left(user)
    return _answer(request, "recovery_codes", "Recovery codes", form=form, left=left)


def _show_new_codes(request: HttpRequest, user: User) -> HttpResponse:
    codes = otp.make_recovery_codes(user)
    going_to = _going_to(request)
    return _answer(request, "recovery_codes", "Recovery codes", codes=codes, going_to=going_to)


def _answer(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    context |= admin.site.each_context(request) | {"title": title}
    return TemplateResponse(request, f"adminops/{template}.html", context)


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
