"""Security headers for every response, static files included.

JSON for phones may load nothing. Admin pages load scripts, styles and images from our own host
and have no inline scripts. Their theme (unfold's Alpine) evaluates template attributes, so that
only they allow 'unsafe-eval', and writes inline styles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from rendio.common.web import paths

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STAFF_PAGES = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
# A browser that opens a video or image builds a page around it.
MEDIA = NOTHING + "; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
# Swagger UI and Redoc, from our own files: both write inline styles, Redoc searches in a worker.
DOCS = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def playground(*, media_origin: str, events_origin: str) -> str:
    """The page at `/`: its own scripts, styles and fonts, the API on this host, media and events of
    these origins. It writes no HTML from text (Trusted Types)."""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            f"img-src 'self' blob: data: {media_origin}",
            f"media-src 'self' {media_origin}",
            f"connect-src 'self' {events_origin}".rstrip(),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


# By path prefix; all other paths get NOTHING.
POLICIES = {"/admin/": STAFF_PAGES, "/media/": MEDIA, "/docs": DOCS}
_PARTS = (*paths.API, *POLICIES)
# RFC 9110, 8.6: the Content-Length of a 304 is that of the omitted body.
_WITHOUT_BODY = {204, 304}
PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class SecurityHeadersMiddleware(SecurityMiddleware):
    """Django's, with the headers that it and this module know. Runs outside all other middleware
    except the request id's, so that every response gets the headers."""

    get_response: Callable[[HttpRequest], HttpResponse]

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self._defaults_of = cache(partial(_defaults_of, self._by_django()))

    def __call__(self, request: HttpRequest) -> HttpResponse:
        redirect = self.process_request(request) if self.redirect else None
        response = redirect or self.get_response(request)
        headers: Any = response.headers
        # Django's `setdefault` would encode and check each of these constants anew.
        headers._store = {**self._defaults_of(_part(request.path)), **headers._store}
        if self.sts_seconds and request.is_secure():
            self.process_response(request, response)
        if not response.streaming and response.status_code not in _WITHOUT_BODY:
            # Without it HTTP/1.1 clients get even two lines of JSON in chunks.
            headers.setdefault("Content-Length", str(len(response.content)))
        return response

    def _by_django(self) -> dict[str, str]:
        response = HttpResponse()
        super().process_response(HttpRequest(), response)
        XFrameOptionsMiddleware(lambda _request: response)(HttpRequest())
        return dict(response.items())


def _part(path: str) -> str:
    """The prefix of the path that decides on its headers."""
    return next((start for start in _PARTS if path.startswith(start)), "")


def _defaults_of(by_django: dict[str, str], part: str) -> dict[str, tuple[str, str]]:
    """The headers of responses under this prefix, in the form of Django's ResponseHeaders."""
    defaults = by_django | {
        "Content-Security-Policy": POLICIES.get(part, NOTHING),
        "Permissions-Policy": PERMISSIONS,
    }
    del defaults["Content-Type"]
    if part != "/media/":
        # Pages that may call us (CORS_ALLOWED_ORIGINS) show our videos.
        defaults["Cross-Origin-Resource-Policy"] = "same-origin"
    if part in paths.API:
        # Personal data: no proxy and no disk may keep it.
        defaults["Cache-Control"] = "no-store"
    return {name.lower(): (name, value) for name, value in defaults.items()}
