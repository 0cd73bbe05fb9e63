"""Rate limit and lockout for the sign-in of staff.

django-ratelimit counts the attempts of an address, in Redis, and fails open: support must be able
to work during an outage. django-axes counts the failures of a username from one address, in
PostgreSQL, and locks this pair out for a while; attempts during the lockout do not extend it. An
attacker who guesses a password does not lock out the user at another address.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import redis
import structlog
from axes.backends import AxesStandaloneBackend
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django_ratelimit.core import get_usage

from rendio.common.background.purge import delete_batch
from rendio.common.web import ratelimit

logger = structlog.get_logger(__name__)

MAX_USERNAME_LENGTH = 150


class LockOutBackend(AxesStandaloneBackend):  # type: ignore[misc]
    """The first authentication backend: refuses a username that is locked out. Does nothing without
    a request."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        if request is not None:
            super().authenticate(request, **credentials)


def client_address(request: HttpRequest) -> str | None:
    """AXES_CLIENT_IP_CALLABLE. None if the address is unknown."""
    address = ratelimit.client_ip(request)
    return None if address == ratelimit.UNKNOWN else address


def attempted_username(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """AXES_USERNAME_CALLABLE: the username as typed, cut to the maximum length."""
    return str((credentials or request.POST).get("username", ""))[:MAX_USERNAME_LENGTH]


def log_label(name: str, address: str, *rest: Any) -> str:
    """AXES_CLIENT_STR_CALLABLE: the address only, because people type passwords as usernames."""
    return address


def lockout_response(
    request: HttpRequest, response: HttpResponseBase, credentials: dict[str, Any]
) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    return too_many_attempts_response(request, seconds).render()


def purge_sessions(*, now: datetime) -> int:
    """Delete a batch of expired sessions of staff; returns the number deleted."""
    return delete_batch(Session.objects.filter(expire_date__lt=now), order="expire_date")


def purge_attempts(*, now: datetime) -> int:
    """Delete a batch of failed attempts whose lockout is over; returns the number deleted.

    django-axes deletes them too, but only on the next sign-in or failure.
    """
    over = AccessAttempt.objects.filter(attempt_time__lt=now - settings.AXES_COOLOFF_TIME)
    return delete_batch(over, order="pk")


def seconds_to_wait(request: HttpRequest) -> int | None:
    """Count the attempt; returns the seconds until the next is allowed, None if it is now."""
    try:
        usage = get_usage(
            request,
            group="staff-login",
            key=lambda _group, request: ratelimit.client_ip(request),
            rate=settings.STAFF_LOGIN_RATE or None,
            increment=True,
        )
    except redis.RedisError as error:
        logger.warning("staff_login_not_counted", error=str(error))
        return None
    if usage is None or not usage["should_limit"]:
        return None
    return max(int(usage["time_left"]), 1)


def too_many_attempts_response(request: HttpRequest, seconds: int) -> TemplateResponse:
    logger.warning("staff_login_limited", ip=ratelimit.client_ip(request))
    text = (
        "Too many sign-in attempts from this address. "
        f"Try again in {seconds} second{pluralize(seconds)}."
    )
    context = {**admin.site.each_context(request), "title": "Too many attempts", "text": text}
    response = TemplateResponse(
        request,
        "adminops/error.html",
        context,
        status=429,
        headers={"Retry-After": str(seconds)},
    )
    add_never_cache_headers(response)
    return response
