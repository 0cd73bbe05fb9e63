"""Calls of scripts of other origins (settings.CORS_ALLOWED_ORIGINS)."""

from __future__ import annotations

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from rendio.common.web import paths


class CrossOriginMiddleware(CorsMiddleware):
    """django-cors-headers' middleware, by-passed for requests that no browser's script sends."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "HTTP_ORIGIN" in request.META or request.method == "OPTIONS":
            return super().__call__(request)  # type: ignore[return-value]
        response: HttpResponse = self.get_response(request)  # type: ignore[assignment]
        if request.path_info.startswith(paths.API):
            if response.has_header("Vary"):
                patch_vary_headers(response, ("origin",))
            else:
                response.headers["Vary"] = "origin"
        return response
