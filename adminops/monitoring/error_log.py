"""The error log: error responses, stored for support.

Guarantee: at most once; an entry may be missing. An error response costs one INSERT, at most
ERROR_LOG_PER_MINUTE of each code and process: a flood neither fills the table nor slows the service
down, and a flood of one code does not hide other codes. Nothing is stored while the database fails;
the logs have all error responses.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from adminops.models import ErrorLog
from rendio.common import clock
from rendio.common.background.purge import BATCH
from rendio.common.errors import DatabaseUnavailable, Refusal, find_refusal
from rendio.common.observability import request_id
from rendio.common.times import iso

logger = structlog.get_logger(__name__)

# If the database hangs, one request waits for the connection timeout; the next ones do not.
PAUSE_SECONDS = 60


class ErrorLogMiddleware:
    """Store error responses that have the API's error format."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.budget = _RateBudget()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        refusal = find_refusal(response)
        if refusal and refusal.code != DatabaseUnavailable.code and self.budget.take(refusal.code):
            try:
                _store(request, refusal)
            except Exception as error:  # any error: the response is ready
                self.budget.pause()
                logger.warning("error_log_not_written", error=type(error).__name__)
        return response


class _RateBudget:
    """The entries that may still be stored in this minute, by code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._taken: Counter[str] = Counter()
        self._paused_until = 0.0

    def take(self, code: str) -> bool:
        now = time.monotonic()
        with self._lock:
            if now // 60 != self._minute:
                self._minute = int(now // 60)
                self._taken.clear()
            self._taken[code] += 1
            is_left = self._taken[code] <= settings.ERROR_LOG_PER_MINUTE
            return is_left and now >= self._paused_until

    def pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS


def _store(request: HttpRequest, refusal: Refusal) -> None:
    ErrorLog.objects.create(
        at=clock.now(),
        code=refusal.code,
        status=refusal.status,
        endpoint=_endpoint(request),
        user_id=_user_id(request),
        request_id=request_id.current() or "",
    )


def _endpoint(request: HttpRequest) -> str:
    """Method and route. Never the path, which may contain a token or input of a stranger."""
    match = request.resolver_match
    return f"{request.method} {match.route if match else '(no such path)'}"[:100]


def _user_id(request: HttpRequest) -> UUID | None:
    """The id of the caller that the view authenticated. Django's lazy `user` is not evaluated: that
    would be a query."""
    user: Any = getattr(request, "user", None)
    return None if isinstance(user, SimpleLazyObject) else getattr(user, "user_id", None)


def export_error_log(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The entries of a user, for the export of the user's data."""
    for one in ErrorLog.objects.filter(user_id=user_id).order_by("-id").iterator():
        yield {"at": iso(one.at), "code": one.code, "endpoint": one.endpoint}


def purge(*, now: datetime) -> int:
    """Delete a batch of entries older than ERROR_LOG_DAYS or beyond the newest ERROR_LOG_ROWS;
    returns the number deleted. Idempotent.

    Ids increase, so the oldest entries are found without counting.
    """
    newest = ErrorLog.objects.order_by("-id").values_list("id", flat=True).first()
    if newest is None:
        return 0
    oldest = ErrorLog.objects.order_by("id").values("id", "at")[:BATCH]
    old_at = now - timedelta(days=settings.ERROR_LOG_DAYS)
    last_id = newest - settings.ERROR_LOG_ROWS
    expired = [one["id"] for one in oldest if one["at"] <= old_at or one["id"] <= last_id]
    ErrorLog.objects.filter(id__in=expired).delete()
    return len(expired)
