"""Refuse requests for other host names."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class PinnedHostMiddleware:
    """400 for a Host outside ALLOWED_HOSTS, whether or not the view asks for the host.

    Probes call a process by its address, which is none of our names.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path not in settings.PROBE_PATHS:
            request.get_host()
        return self.get_response(request)
