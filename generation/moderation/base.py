"""What every moderator must be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True)
class TextContent:
    text: str


@dataclass(frozen=True)
class ImageContent:
    jpeg: bytes


Content = TextContent | ImageContent


@dataclass(frozen=True)
class Flag:
    """By whom, and to what in its own names; `term_id` is of the blocklist."""

    moderator: str
    categories: tuple[str, ...]
    term_id: UUID | None = None


class ModeratorUnavailable(Exception):
    """No verdict: no answer in time, or none that we can read. The message is for the log."""


class Moderator(ABC):
    """One of settings.MODERATION, by its name there."""

    name: ClassVar[str]
    # Who it is that gets what users send; None for one of ours.
    third_party: ClassVar[str | None] = None

    @abstractmethod
    def check(self, content: Content) -> Flag | None:
        """None: nothing to object to, or a kind of content that it does not judge.

        Within settings.MODERATION_TIMEOUT_SECONDS. Raises ModeratorUnavailable.
        """
