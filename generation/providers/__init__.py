"""The providers that jobs can be sent to: each is a row of settings.PROVIDERS and a module beside
these, both by its name, with a class of that name in it."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from django.conf import settings

from generation.providers.base import Provider


def get_provider(name: str) -> Provider:
    """Raises KeyError for a provider that we do not speak to."""
    return _providers()[name]


def find_provider(name: str) -> Provider | None:
    return _providers().get(name)


def provider_choices() -> list[tuple[str, str]]:
    return [(name, name) for name in settings.PROVIDERS]


@cache
def _providers() -> dict[str, Provider]:
    modules = {name: import_module(f"{__name__}.{name}") for name in settings.PROVIDERS}
    return {name: getattr(module, name.capitalize())() for name, module in modules.items()}
