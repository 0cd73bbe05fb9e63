"""Masking of data that not all staff may see.

Sensitive data are e-mail addresses, device ids, Apple's ids, customers' content and raw payloads.
Promotion codes have a permission of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from adminops.models import SEE_SENSITIVE
from credits import queries as credit_queries
from credits.services import normalize_code

BULLETS = "••••"


def may_see_sensitive(user: User | AnonymousUser) -> bool:
    return user.has_perm(f"adminops.{SEE_SENSITIVE}")


def masked(value: Any) -> str | None:
    """The last four characters of an id, for comparison with a customer's. None for no value."""
    if value in (None, ""):
        return None
    text = str(value)
    return BULLETS if "@" in text or len(text) < 12 else BULLETS + text[-4:]


def may_see_codes(user: User | AnonymousUser) -> bool:
    return user.has_perm("credits.view_promotioncode")


# A code may be typed with spaces or hyphens. A candidate joins up to this many words.
_MAX_WORDS = 4
_WORD = re.compile(r"\w+")
# Reasons of old ledger entries name the code.
_IN_OLD_LEDGER_REASON = re.compile(r"^((?:second )?code )[^\s,]+(?=,|$)")


class CodeMask:
    """Masks a set of promotion codes in texts."""

    def __init__(self, codes: set[str]) -> None:
        self._codes = codes

    @classmethod
    def for_texts(cls, *texts: str) -> CodeMask:
        """A mask for the existing codes in these texts. One query."""
        return cls._known({code for text in texts for _, _, code in _candidates(text)})

    @classmethod
    def for_reason(cls, text: str, *others: str) -> CodeMask:
        """A mask for the existing codes in this text and for `others`.

        Only words in capitals or with digits count as codes here, not common words.
        """
        possible = {
            code
            for start, end, code in _candidates(text)
            if (written := text[start:end]).isupper() or any(map(str.isdigit, written))
        }
        return cls(cls._known(possible)._codes | {normalize_code(other) for other in others})

    @classmethod
    def _known(cls, possible: set[str]) -> CodeMask:
        return cls(credit_queries.find_codes(possible) if possible else set())

    def mask(self, text: str) -> str:
        text = _IN_OLD_LEDGER_REASON.sub(rf"\1{BULLETS}", text)
        parts, position = [], 0
        for start, end, code in _candidates(text):
            if start >= position and code in self._codes:
                parts += [text[position:start], BULLETS]
                position = end
        return "".join([*parts, text[position:]])

    def mask_json(self, value: Any) -> Any:
        """Mask all texts in a JSON value, and the whole value of each key `code`."""
        if isinstance(value, dict):
            return {
                name: BULLETS if name == "code" and inner else self.mask_json(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.mask_json(inner) for inner in value]
        return self.mask(value) if isinstance(value, str) else value


def _candidates(text: str) -> Iterator[tuple[int, int, str]]:
    """Possible codes as (start, end, normalized code), the longest first at each start."""
    words = list(_WORD.finditer(text))
    for number, first in enumerate(words):
        for last in reversed(words[number : number + _MAX_WORDS]):
            code = normalize_code(text[first.start() : last.end()])
            if 4 <= len(code) <= 32:
                yield first.start(), last.end(), code
