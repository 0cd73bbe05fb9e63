"""What not every member of staff may read: e-mail addresses, devices, Apple's ids, what a customer
made, what came in as it came, and promotion codes."""

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
    """An id by its last four letters, so that it can be compared with what a customer reads out;
    None where there is nothing to hide."""
    if value in (None, ""):
        return None
    text = str(value)
    return BULLETS if "@" in text or len(text) < 12 else BULLETS + text[-4:]


def may_see_codes(user: User | AnonymousUser) -> bool:
    return user.has_perm("credits.view_promotioncode")


# A code may be typed with blanks or hyphens in it: so many parts are looked at together.
_MAX_WORDS = 4
_WORD = re.compile(r"\w+")
# As ledger entries named it before redemptions alone did.
_IN_OLD_LEDGER_REASON = re.compile(r"^((?:second )?code )[^\s,]+(?=,|$)")


class CodeMask:
    """Promotion codes that a text may not tell."""

    def __init__(self, codes: set[str]) -> None:
        self._codes = codes

    @classmethod
    def for_texts(cls, *texts: str) -> CodeMask:
        """The codes that there are of those that these texts may name, in one query."""
        return cls._known({code for text in texts for _, _, code in _candidates(text)})

    @classmethod
    def for_reason(cls, text: str, *others: str) -> CodeMask:
        """The same, but for words of everyday that are codes as well; and `others`."""
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
        told, position = [], 0
        for start, end, code in _candidates(text):
            if start >= position and code in self._codes:
                told += [text[position:start], BULLETS]
                position = end
        return "".join([*told, text[position:]])

    def mask_json(self, value: Any) -> Any:
        """The same for all texts within what JSON holds; a value named `code` is one."""
        if isinstance(value, dict):
            return {
                name: BULLETS if name == "code" and inner else self.mask_json(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.mask_json(inner) for inner in value]
        return self.mask(value) if isinstance(value, str) else value


def _candidates(text: str) -> Iterator[tuple[int, int, str]]:
    """What could be a code, (from, to, as a code is kept), longest first at each place."""
    words = list(_WORD.finditer(text))
    for number, first in enumerate(words):
        for last in reversed(words[number : number + _MAX_WORDS]):
            code = normalize_code(text[first.start() : last.end()])
            if 4 <= len(code) <= 32:
                yield first.start(), last.end(), code
