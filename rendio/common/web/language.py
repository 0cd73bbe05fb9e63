"""The language of messages: Accept-Language, else the user's profile, else English.

The admin is for staff and always English.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header


class LanguageMiddleware:
    """Activate the supported language that `Accept-Language` prefers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with translation.override(_requested(request) or settings.LANGUAGE_CODE):
            return self.get_response(request)


def use_fallback(request: HttpRequest, language: str) -> None:
    """Activate the user's own language if the request asks for no supported one."""
    if _is_supported(language) and not _requested(request):
        translation.activate(language)


def make_chooser(request: HttpRequest, users_own: Callable[[], str]) -> Callable[[], str]:
    """A function for texts that are sent long after the request: returns the language then."""
    asked = _requested(request)

    def choose() -> str:
        own = users_own()
        return asked or (own if _is_supported(own) else settings.LANGUAGE_CODE)

    return choose


def _requested(request: HttpRequest) -> str | None:
    if request.path.startswith("/admin/"):
        return None
    return preferred(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))


@lru_cache(1_000)  # phones send few different ones
def preferred(accept_language: str) -> str | None:
    """The first supported language in the header, else None."""
    for tag, weight in parse_accept_lang_header(accept_language):
        language = tag.partition("-")[0]
        if weight and _is_supported(language):
            return language
    return None


def _is_supported(language: str) -> bool:
    return language in dict(settings.LANGUAGES)
