"""The staff's sign-in takes only so many attempts from one address.

Fails open: while Redis is gone attempts are not counted, since passwords are slow to try anyway and
support must be able to work during an outage.
"""

from __future__ import annotations

from typing import Any

import redis
import structlog
from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django_ratelimit.core import get_usage

from rendio.common import ratelimit

logger = structlog.get_logger(__name__)


def guard(site: AdminSite) -> None:
    """Count every attempt to sign in to `site` and answer 429 beyond settings.STAFF_LOGIN_RATE."""
    sign_in = site.login

    def login(
        request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        if request.method == "POST" and (seconds := _seconds_to_wait(request)):
            return _refused(site, request, seconds)
        return sign_in(request, extra_context)

    site.login = login  # type: ignore[method-assign,assignment]


def _seconds_to_wait(request: HttpRequest) -> int | None:
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


def _refused(site: AdminSite, request: HttpRequest, seconds: int) -> TemplateResponse:
    logger.warning("staff_login_limited", ip=ratelimit.client_ip(request))
    text = (
        "There were too many attempts to sign in from this address. "
        f"Try again in {seconds} second{pluralize(seconds)}."
    )
    context = {**site.each_context(request), "title": "Too many attempts", "text": text}
    response = TemplateResponse(
        request,
        "adminops/problem.html",
        context,
        status=429,
        headers={"Retry-After": str(seconds)},
    )
    add_never_cache_headers(response)
    return response
