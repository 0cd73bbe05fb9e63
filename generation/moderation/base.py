"""The moderator contract."""

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
    """The moderator that flagged the content, and its own category names. `term_id` is set by the
    blocklist."""

    moderator: str
    categories: tuple[str, ...]
    term_id: UUID | None = None


class ModeratorUnavailable(Exception):
    """No result: a timeout, an error or an unexpected response. The message is for the log."""


class Moderator(ABC):
    """A moderator. settings.MODERATION refers to it by name."""

    name: ClassVar[str]
    # The third party that receives the users' content. None for our own moderators.
    third_party: ClassVar[str | None] = None

    @abstractmethod
    def check(self, content: Content) -> Flag | None:
        """Check content. None: allowed, or a kind of content that this moderator does not check.

        Takes at most settings.MODERATION_TIMEOUT_SECONDS. Raises ModeratorUnavailable.
        """
