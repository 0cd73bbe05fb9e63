"""Blocked terms in prompts. Staff maintain the terms in the admin.

A term is a word or several words in a row, with * and ? as in file names. More powerful patterns
are excluded on purpose: a backtracking expression could block the whole process. The comparison
ignores case, width, invisible characters and combining marks, and treats Cyrillic letters that look
Latin as Latin. Accents that make another letter count: año is a year.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import structlog
from django.conf import settings

from generation.models import BlockedTerm
from generation.moderation.base import Content, Flag, Moderator, TextContent
from rendio.common.text.visible_text import BLANK, IGNORABLE
from rendio.common.ttl_cache import ttl_cache

logger = structlog.get_logger(__name__)

_SYMBOLS = "\u2190-\u2bff\U0001f000-\U0001faff"  # arrows to emoji; each is a word
_WORD = re.compile(f"[^\\W_]+|[{_SYMBOLS}]")
_TERM_WORD = re.compile(f"(?:[^\\W_]|[*?])+|[{_SYMBOLS}]")
# Combining marks that normalization did not compose, and variation selectors of emoji.
_COMBINING_MARKS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
)
_CYRILLIC_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u0501", "aeopcyxsijd"
)


_IGNORABLE = re.compile(f"[{IGNORABLE}]")
_BLANK = re.compile(f"[{BLANK}]")


def normalize(text: str) -> str:
    """Return the form of the text that is compared."""
    text = _BLANK.sub(" ", _IGNORABLE.sub("", text))
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _COMBINING_MARKS.sub("", text).translate(_CYRILLIC_LOOKALIKES)


@dataclass(frozen=True)
class Term:
    term_id: UUID | None
    category: str
    # Plain words as text, words with * or ? as compiled expressions.
    words: tuple[str | re.Pattern[str], ...]

    @classmethod
    def parse(cls, text: str, *, term_id: UUID | None = None, category: str = "") -> Term:
        """Parse a term. Raises ValueError with a message for staff if the term matches nothing or
        everything."""
        words = _TERM_WORD.findall(normalize(text))
        if not words:
            raise ValueError("Write at least one word.")
        if any(not word.strip("*?") for word in words):
            raise ValueError("Each word needs a letter beside * and ?.")
        return cls(term_id, category, tuple(_compile_word(word) for word in words))

    def matches_at(self, words: list[str], start: int) -> bool:
        # Most comparisons end here: too few words are left, or the next word differs.
        here = words[start : start + len(self.words)]
        return len(here) == len(self.words) and all(map(_word_matches, self.words, here))


def _compile_word(word: str) -> str | re.Pattern[str]:
    # fnmatch's expressions do not backtrack.
    return re.compile(fnmatch.translate(word)) if "*" in word or "?" in word else word


def _word_matches(expected: str | re.Pattern[str], word: str) -> bool:
    return expected == word if isinstance(expected, str) else bool(expected.match(word))


class TermIndex:
    """Terms, indexed by their first word if it has no * and no ?."""

    def __init__(self, terms: list[Term]) -> None:
        self._by_word: dict[str, list[Term]] = defaultdict(list)
        self._wildcard_terms: list[Term] = []
        for term in terms:
            first = term.words[0]
            (self._by_word[first] if isinstance(first, str) else self._wildcard_terms).append(term)

    def find(self, text: str) -> Term | None:
        words = _WORD.findall(normalize(text))
        for start, word in enumerate(words):
            candidates: list[Term] = [*self._by_word.get(word, ()), *self._wildcard_terms]
            for term in candidates:
                if term.matches_at(words, start):
                    return term
        return None


class Blocklist(Moderator):
    """The blocklist. Terms are reloaded every settings.BLOCKLIST_CACHE_SECONDS."""

    name = "blocklist"

    def check(self, content: Content) -> Flag | None:
        if not isinstance(content, TextContent):
            return None
        term = _current_index().find(content.text)
        return Flag(self.name, (term.category or "blocked",), term.term_id) if term else None

    def invalidate_cache(self) -> None:
        """Read the terms again at the next text of this process, after a change."""
        _current_index.cache_clear()


@ttl_cache(lambda: settings.BLOCKLIST_CACHE_SECONDS)
def _current_index() -> TermIndex:
    enabled = BlockedTerm.objects.filter(is_enabled=True).order_by("id")
    return _build_index(tuple(enabled.values_list("id", "text", "category")))


@lru_cache(maxsize=1)  # the same terms keep their index
def _build_index(rows: tuple[tuple[UUID, str, str], ...]) -> TermIndex:
    return TermIndex(list(_parse_valid_terms(rows)))


def _parse_valid_terms(rows: Iterable[tuple[UUID, str, str]]) -> Iterator[Term]:
    for term_id, text, category in rows:
        try:
            yield Term.parse(text, term_id=term_id, category=category)
        except ValueError:
            # The term bypassed the admin's validation. The other terms still apply.
            logger.error("term_left_out", term_id=str(term_id))  # noqa: TRY400


blocklist = Blocklist()
