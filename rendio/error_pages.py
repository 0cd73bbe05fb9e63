"""Error responses outside of views: a page for staff in the admin, the JSON envelope for everybody
else."""

from __future__ import annotations

import sys

from django.contrib import admin
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from rendio.common.errors import (
    DatabaseUnavailable,
    Forbidden,
    InternalError,
    NotFound,
    refusal_response,
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    return refusal_response(exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if _is_staff_page(request):
        return _page(
            request, 403, "Not allowed", "Your roles do not cover this. A superuser can add one."
        )
    return refusal_response(Forbidden())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW; Django logs the reason."""
    if _is_staff_page(request):
        return _page(
            request,
            403,
            "Please try again",
            "This form was too old, or your browser sent no cookie. Nothing has been changed.",
        )
    return refusal_response(Forbidden())


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if _is_staff_page(request):
        return _page(request, 404, "Not found", "There is nothing at this address.")
    return refusal_response(NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; Django logs the exception. Never a page: the page may need the part that
    is broken."""
    is_database = isinstance(sys.exception(), DatabaseError | InterfaceError)
    return refusal_response(DatabaseUnavailable() if is_database else InternalError())


def _is_staff_page(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def _page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "text": text}
    # Rendered here: a handler's answer passes no middleware that would do it.
    return TemplateResponse(request, "adminops/error.html", context, status=status).render()
