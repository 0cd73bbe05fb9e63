"""The API's description and two pages that show it, from our own files only."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from rendio.openapi.schema import document


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    made = document()
    answer = HttpResponse(
        made.body,
        content_type="application/json",
        headers={"ETag": made.etag, "Cache-Control": "public, max-age=300"},
    )
    return get_conditional_response(request, etag=made.etag, response=answer) or answer


@require_safe
def swagger(request: HttpRequest) -> HttpResponse:
    return render(request, "rendio/swagger.html")


@require_safe
def redoc(request: HttpRequest) -> HttpResponse:
    return render(request, "rendio/redoc.html")
