"""The middleware of pages: static files, sessions, forms, staff's sign-in. Calls pass it by.

Each is Django's or a library's own, in a subclass that Django's system checks accept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from axes import middleware as axes
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse
from django.middleware import csrf
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django_otp import middleware as otp
from whitenoise import middleware as whitenoise

from rendio.common.web import paths

_GetResponse = Callable[[HttpRequest], HttpResponse]


class _PagesOnly:
    get_response: _GetResponse
    _after_pages: _GetResponse

    def __init__(self, get_response: _GetResponse) -> None:
        super().__init__(get_response)  # type: ignore[call-arg]
        self._after_pages = _skip_pages(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if paths.is_call(request.path_info):
            return self._after_pages(request)
        response: HttpResponse = super().__call__(request)  # type: ignore[misc]
        return response


def _skip_pages(get_response: _GetResponse) -> _GetResponse:
    """The first of the middlewares from `get_response` on that calls need.

    What Django's own two do, rendio.common.web.headers does for all responses.
    """
    # Django has wrapped each of them in its conversion of exceptions.
    middleware = getattr(get_response, "__wrapped__", None)
    if isinstance(middleware, _PagesOnly | SecurityMiddleware | XFrameOptionsMiddleware):
        return _skip_pages(cast("_GetResponse", middleware.get_response))
    return get_response


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
