"""The limit of one request's total wait for PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from rendio.common.postgresql.limits import at_most


class DatabaseLimitMiddleware:
    """Limits a request's waits to DB_REQUEST_SECONDS. Admin pages, whose reports take longer, have
    PostgreSQL's own limits only."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin/"):
            return self.get_response(request)
        with at_most(settings.DB_REQUEST_SECONDS):
            return self.get_response(request)
