"""Refuse requests for other host names."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host


class PinnedHostMiddleware:
    """400 for a Host outside ALLOWED_HOSTS, whether or not the view asks for the host.

    Probes call a process by its address, which is none of our names.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path not in settings.PROBE_PATHS:
            host = request.META.get("HTTP_HOST", "")
            if not _is_allowed(host, tuple(settings.ALLOWED_HOSTS)):
                request.get_host()
        return self.get_response(request)


@lru_cache(1_000)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)
