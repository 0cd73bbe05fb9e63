"""Security headers for every response, static files included.

JSON for phones may load nothing. Admin pages load scripts, styles and images from our own host
and have no inline scripts. Their theme (unfold's Alpine) evaluates template attributes, so that
only they allow 'unsafe-eval', and writes inline styles.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

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


def playground(*, media_origin: str) -> str:
    """The page at `/`: its own scripts, styles and fonts, the API on this host, and media of
    `media_origin`. It writes no HTML from text (Trusted Types)."""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            f"img-src 'self' blob: data: {media_origin}",
            f"media-src 'self' {media_origin}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


# By path prefix; all other paths get NOTHING.
POLICIES = {"/admin/": STAFF_PAGES, "/media/": MEDIA, "/docs": DOCS}
# RFC 9110, 8.6: the Content-Length of a 304 is that of the omitted body.
_WITHOUT_BODY = {204, 304}
PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class SecurityHeadersMiddleware:
    """Runs outside all other middleware except the request id's, so that every response gets the
    headers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        headers = response.headers
        headers.setdefault("Content-Security-Policy", _policy(request.path))
        headers.setdefault("Permissions-Policy", PERMISSIONS)
        if not request.path.startswith("/media/"):
            # Pages that may call us (CORS_ALLOWED_ORIGINS) show our videos.
            headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if request.path.startswith(paths.API):
            # Personal data: no proxy and no disk may keep it.
            headers.setdefault("Cache-Control", "no-store")
        if not response.streaming and response.status_code not in _WITHOUT_BODY:
            # Without it HTTP/1.1 clients get even two lines of JSON in chunks.
            headers.setdefault("Content-Length", str(len(response.content)))
        return response


def _policy(path: str) -> str:
    return next((policy for start, policy in POLICIES.items() if path.startswith(start)), NOTHING)
