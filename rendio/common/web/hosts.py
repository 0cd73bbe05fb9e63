"""Only our own host names are answered."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class PinnedHostMiddleware:
    """400 for a Host that is not among ALLOWED_HOSTS, whether or not the view would have asked.

    Probes of a process come by its address, which is no name of ours.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path not in settings.PROBE_PATHS:
            request.get_host()
        return self.get_response(request)
