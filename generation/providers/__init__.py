"""The providers. A provider is a row of settings.PROVIDERS, a module of this package with the same
name, and a class of that name in the module."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from django.conf import settings

from generation.providers.base import Provider


def get_provider(name: str) -> Provider:
    """Raises KeyError for an unknown provider."""
    return _providers()[name]


def find_provider(name: str) -> Provider | None:
    return _providers().get(name)


def provider_choices() -> list[tuple[str, str]]:
    return [(name, name) for name in settings.PROVIDERS]


@cache
def _providers() -> dict[str, Provider]:
    modules = {name: import_module(f"{__name__}.{name}") for name in settings.PROVIDERS}
    return {name: getattr(module, name.capitalize())() for name, module in modules.items()}
