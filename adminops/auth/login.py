"""The staff's sign-in: so many attempts from one address, so many failures of one name, and then
the second factor.

django-ratelimit counts the attempts of an address, in Redis, and fails open: support must be able
to work during an outage. django-axes counts the failures of a name from one address, in PostgreSQL,
and locks that pair out for a while, which attempts meanwhile do not prolong: whoever guesses at
somebody's password keeps nobody out who signs in from elsewhere.
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

from rendio.common.purge import delete_batch
from rendio.common.web import ratelimit

logger = structlog.get_logger(__name__)

LONGEST_NAME = 150


class LockOutBackend(AxesStandaloneBackend):  # type: ignore[misc]
    """Asked before any other: refuses a name that is locked out. Only requests can be."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        if request is not None:
            super().authenticate(request, **credentials)


def address_of(request: HttpRequest) -> str | None:
    """AXES_CLIENT_IP_CALLABLE: who is counted together; None where no address can be read."""
    address = ratelimit.client_ip(request)
    return None if address == ratelimit.UNKNOWN else address


def name_of(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """AXES_USERNAME_CALLABLE: no longer than names are, whatever was typed."""
    return str((credentials or request.POST).get("username", ""))[:LONGEST_NAME]


def named_in_logs(name: str, address: str, *rest: Any) -> str:
    """AXES_CLIENT_STR_CALLABLE: people type passwords where names belong."""
    return address


def locked_out(
    request: HttpRequest, response: HttpResponseBase, credentials: dict[str, Any]
) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    return too_many_attempts(request, seconds).render()


def sweep_sessions(*, now: datetime) -> int:
    """Delete sessions of the staff's pages that have expired, at most a batch; returns how many."""
    return delete_batch(Session.objects.filter(expire_date__lt=now), order="expire_date")


def sweep_attempts(*, now: datetime) -> int:
    """Delete failures that lock nobody out any more, at most a batch; returns how many.

    django-axes does so itself, but only when somebody signs in or fails to.
    """
    over = AccessAttempt.objects.filter(attempt_time__lt=now - settings.AXES_COOLOFF_TIME)
    return delete_batch(over, order="pk")


def seconds_to_wait(request: HttpRequest) -> int | None:
    """Until this address may try again; None while it may."""
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


def too_many_attempts(request: HttpRequest, seconds: int) -> TemplateResponse:
    logger.warning("staff_login_limited", ip=ratelimit.client_ip(request))
    text = (
        "There were too many attempts to sign in from this address. "
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
