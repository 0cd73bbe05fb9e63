"""The middleware of pages: static files, sessions, forms, staff's sign-in. Calls pass it by.

Each is Django's or a library's own, in a subclass that Django's system checks accept.
"""

from __future__ import annotations

from collections.abc import Callable

from axes import middleware as axes
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse
from django.middleware import csrf
from django_otp import middleware as otp
from whitenoise import middleware as whitenoise

from rendio.common.web import paths


class _PagesOnly:
    get_response: Callable[[HttpRequest], HttpResponse]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if paths.is_call(request.path_info):
            return self.get_response(request)
        response: HttpResponse = super().__call__(request)  # type: ignore[misc]
        return response


class WhiteNoiseMiddleware(_PagesOnly, whitenoise.WhiteNoiseMiddleware):  # type: ignore[misc]
    pass


class SessionMiddleware(_PagesOnly, sessions.SessionMiddleware):  # type: ignore[misc]
    pass


class CsrfViewMiddleware(_PagesOnly, csrf.CsrfViewMiddleware):  # type: ignore[misc]
    pass


class AuthenticationMiddleware(_PagesOnly, auth.AuthenticationMiddleware):  # type: ignore[misc]
    pass


class OTPMiddleware(_PagesOnly, otp.OTPMiddleware):  # type: ignore[misc]
    pass


class MessageMiddleware(_PagesOnly, messages.MessageMiddleware):  # type: ignore[misc]
    pass


class AxesMiddleware(_PagesOnly, axes.AxesMiddleware):  # type: ignore[misc]
    pass
