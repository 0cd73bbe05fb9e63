"""The page, and what its buttons ask of the sandbox. All of it is a 404 while PLAYGROUND is off."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from urllib.parse import urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from generation import media
from rendio.common.errors import InternalError, InvalidInput, refusal_response
from rendio.common.web import headers
from rendio.playground import sandbox

View = Callable[[HttpRequest], HttpResponse]


def _where_on(view: View) -> View:
    @wraps(view)
    def only_on(request: HttpRequest) -> HttpResponse:
        if not settings.PLAYGROUND:
            raise Http404
        return view(request)

    return only_on


def _with_sandbox(view: View) -> View:
    """404 without a sandbox, and 503 if the sandbox does not answer."""

    @_where_on
    @require_POST
    @wraps(view)
    def only_with_sandbox(request: HttpRequest) -> HttpResponse:
        if not settings.SANDBOX_URL:
            raise Http404
        try:
            return view(request)
        except sandbox.Unavailable:
            return refusal_response(InternalError(status=503))

    return only_with_sandbox


@_where_on
@require_safe
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    response = render(
        request,
        "playground/page.html",
        {
            "has_sandbox": bool(settings.SANDBOX_URL),
            "can_improve": bool(settings.OPENROUTER_MODELS),
            "faults": list(sandbox.FAULTS),
            "languages": settings.LANGUAGES,
            "events_url": settings.PLAYGROUND_EVENTS_URL,
        },
    )
    response.headers["Content-Security-Policy"] = headers.playground(
        media_origin=_media_origin(), events_origin=_origin(settings.PLAYGROUND_EVENTS_URL)
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _media_origin() -> str:
    """Where the files of jobs are: PUBLIC_URL, which may differ from the address in the browser, or
    the bucket."""
    return _origin(media.signed_url("any") or "")


def _origin(url: str) -> str:
    """Scheme and host. "" of ""."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if url else ""


@_with_sandbox
def set_fault(request: HttpRequest) -> HttpResponse:
    fault = request.POST.get("fault", "")
    if fault and fault not in sandbox.FAULTS:
        return refusal_response(InvalidInput(fields={"fault": ["Unknown."]}))
    return _show(sandbox.set_fault(fault))


@_with_sandbox
def buy(request: HttpRequest) -> HttpResponse:
    """The purchase that an iPhone would make. The page then reports it to the API as the app
    does."""
    return _show(
        sandbox.buy(
            product_id=request.POST.get("product_id", ""),
            is_subscription=request.POST.get("kind") == "subscription",
            user_id=request.POST.get("user_id", ""),
        )
    )


def _show(exchanges: list[sandbox.Exchange]) -> HttpResponse:
    """The calls to the sandbox and its answers, as the page shows them."""
    return JsonResponse({"exchanges": [vars(exchange) for exchange in exchanges]})
