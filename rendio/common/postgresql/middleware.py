"""The limit of one call: how long it waits for PostgreSQL, whatever the reason of each wait."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from rendio.common.postgresql.limits import at_most


class DatabaseLimitMiddleware:
    """Bounds a call's waits to DB_REQUEST_SECONDS. The staff's pages, whose reports take longer,
    have PostgreSQL's own limits alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin/"):
            return self.get_response(request)
        with at_most(settings.DB_REQUEST_SECONDS):
            return self.get_response(request)
