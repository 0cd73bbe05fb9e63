"""The language of messages: what the phone asks for, else its user's own, else English.

The admin is for our staff and speaks English.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header


class LanguageMiddleware:
    """Answer in the language that `Accept-Language` prefers of those we have."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with translation.override(_requested(request) or settings.LANGUAGE_CODE):
            return self.get_response(request)


def use_fallback(request: HttpRequest, language: str) -> None:
    """Speak the user's own language for the rest of a request that asks for none of ours."""
    if _is_supported(language) and not _requested(request):
        translation.activate(language)


def make_chooser(request: HttpRequest, users_own: Callable[[], str]) -> Callable[[], str]:
    """For what is told long after the request: which language to speak then."""
    asked = _requested(request)

    def choose() -> str:
        own = users_own()
        return asked or (own if _is_supported(own) else settings.LANGUAGE_CODE)

    return choose


def _requested(request: HttpRequest) -> str | None:
    if request.path.startswith("/admin/"):
        return None
    return preferred(request.headers.get("Accept-Language", ""))


def preferred(accept_language: str) -> str | None:
    """The first of our languages that the header names; None where it names none."""
    for tag, weight in parse_accept_lang_header(accept_language):
        language = tag.partition("-")[0]
        if weight and _is_supported(language):
            return language
    return None


def _is_supported(language: str) -> bool:
    return language in dict(settings.LANGUAGES)
