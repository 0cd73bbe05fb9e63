"""The providers that jobs can be sent to. A new one is a module beside these and a line here."""

from __future__ import annotations

from generation.providers.base import Provider
from generation.providers.fal import Fal

_PROVIDERS: dict[str, Provider] = {"fal": Fal()}


def get_provider(name: str) -> Provider:
    """Raises KeyError for a provider that we do not speak to."""
    return _PROVIDERS[name]


def find_provider(name: str) -> Provider | None:
    return _PROVIDERS.get(name)


def provider_choices() -> list[tuple[str, str]]:
    return [(name, name) for name in _PROVIDERS]
