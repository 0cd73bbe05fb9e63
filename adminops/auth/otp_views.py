"""Pages that ask for the second factor, set it up, and replace the recovery codes."""

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

# The key during setup is in the browser's session only.
PENDING_KEY = "second_factor_key"


def second_factor_url(request: HttpRequest) -> str:
    """The URL of the second-factor page, with the target of the request as `next`."""
    next_url = request.GET.get(REDIRECT_FIELD_NAME, "")
    return f"{reverse('admin:second_factor')}?{urlencode({REDIRECT_FIELD_NAME: next_url})}"


class CodeField(forms.RegexField):
    def to_python(self, value: Any) -> str:
        """The code as stored: a recovery code may be typed in capitals, with spaces or hyphens."""
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
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """Ask for a code. If the user has no app yet, show how to set it up first."""
    user = request.user
    if not (isinstance(user, User) and otp.is_required_for(user)):
        return redirect("admin:index")
    if "leave" in request.POST:
        logout(request)
        return redirect("admin:login")
    ask = _ask_for_code if otp.find_totp_device(user) else _enroll
    return ask(request, user, CodeForm(request.POST or None))


def _ask_for_code(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    if form.is_valid():
        device, problem = otp.verify_code(user, code=form.cleaned_data["code"])
        if device is not None:
            _mark_verified(request, device)
            return redirect(_next_url(request))
        form.add_error("code", problem)
    return _render(request, "second_factor", "Second factor", form=form)


def _enroll(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    key = request.session.setdefault(PENDING_KEY, random_hex())
    if form.is_valid():
        device, problem = otp.enroll_device(user, key=key, code=form.cleaned_data["code"])
        if device is not None:
            del request.session[PENDING_KEY]
            _mark_verified(request, device)
            return _show_new_codes(request, user)
        form.add_error("code", problem)
    device = TOTPDevice(user=user, key=key)
    shown = {"picture": _qr_code(device), "key": b32encode(device.bin_key).decode()}
    return _render(request, "second_factor", "Second factor", form=form, **shown)


def _mark_verified(request: HttpRequest, device: otp.Device) -> None:
    login(request, device)
    # A session id known before the verification is worthless after it.
    request.session.cycle_key()
    if isinstance(device, StaticDevice):
        left = otp.count_recovery_codes(device.user)
        messages.warning(
            request,
            f"This recovery code is used up, and {left} are left. Generate new codes under Recovery"
            " codes in the sidebar.",
        )


@never_cache
@require_http_methods(["GET", "POST"])
def recovery_codes_page(request: HttpRequest) -> HttpResponse:
    """Replace the recovery codes. Asks for a code, because the browser may be unattended."""
    user: Any = request.user
    if not (user.is_authenticated and user.is_verified() and otp.find_totp_device(user)):
        return redirect("admin:index")
    form = CodeForm(request.POST or None)
    if form.is_valid():
        device, problem = otp.verify_code(user, code=form.cleaned_data["code"])
        if device is not None:
            return _show_new_codes(request, user)
        form.add_error("code", problem)
    left = otp.count_recovery_codes(user)
    return _render(request, "recovery_codes", "Recovery codes", form=form, left=left)


def _show_new_codes(request: HttpRequest, user: User) -> HttpResponse:
    codes = otp.create_recovery_codes(user)
    next_url = _next_url(request)
    return _render(request, "recovery_codes", "Recovery codes", codes=codes, next_url=next_url)


def _render(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    context |= admin.site.each_context(request) | {"title": title}
    return TemplateResponse(request, f"adminops/{template}.html", context)


def _qr_code(device: TOTPDevice) -> SafeString:
    """The QR code for the app, as inline SVG: no other request may carry the key."""
    drawn = qrcode.make(
        device.config_url, image_factory=qrcode.image.svg.SvgPathImage, border=2, box_size=14
    )
    svg: str = drawn.to_string().decode()
    return mark_safe(svg)  # noqa: S308 (made above)


def _next_url(request: HttpRequest) -> str:
    wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("admin:index")
