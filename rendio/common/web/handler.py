"""Django's WSGI handler, without the steps that have nothing to do in this project."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.core import signals
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest
from django.urls import ResolverMatch, get_resolver
from django.utils.log import log_response

# Paths with an id count too; those of frequent calls stay.
REMEMBERED_PATHS = 1_000


class Handler(WSGIHandler):
    """A process makes one of these."""

    def __init__(self) -> None:
        super().__init__()
        # Of settings.CACHES none has a connection to close.
        signals.request_finished.disconnect(close_caches)
        # No request has routes of its own.
        signals.request_finished.disconnect(reset_urlconf)
        # Connections are looked after when a request ends, and before a statement.
        signals.request_started.disconnect(close_old_connections)
        # Queries are kept with DEBUG only.
        signals.request_started.disconnect(reset_queries)

    def get_response(self, request: HttpRequest) -> Any:
        response: Any = self._middleware_chain(request)  # type: ignore[attr-defined]
        response._resource_closers.append(request.close)
        if response.status_code >= 400:
            log_response(
                "%s: %s", response.reason_phrase, request.path, response=response, request=request
            )
        return response

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = match = _match_of(request.path_info)
        return match


@lru_cache(REMEMBERED_PATHS)
def _match_of(path: str) -> ResolverMatch:
    """Raises Resolver404, which is not remembered."""
    return get_resolver().resolve(path)
