"""Sort keys for texts in the order that readers expect.

By the Unicode Collation Algorithm (UTS 10): letters first, regardless of case and accents, then
accents, then case. Letters of our languages' alphabets have their own place (CLDR
`common/collation/es.xml` and `tr.xml`). Other scripts follow Latin by code point.

The same on every machine: the orders of the C library and of PostgreSQL differ by system and
version, and are not used.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from django.db import models
from django.db.models.functions import Collate, Lower

from rendio.common.text.visible_text import is_visible

# Letters with a place of their own, by language: each comes after all words with the letter named.
_OWN_LETTERS = {
    "es": {"ñ": "n"},
    "tr": {"ç": "c", "ğ": "g", "ı": "h", "ö": "o", "ş": "s", "ü": "u"},
}
# Of other languages, without a decomposition in Unicode.
_LIKE = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ß": "ss"})
_BLANK, _SIGN, _DIGIT, _LETTER = range(4)

Weight = tuple[int, str, bool]


@lru_cache(maxsize=10_000)
def sort_key(text: str, language: str = "en") -> tuple[Any, ...]:
    """The sort key of `text` for readers of this language.

    Different texts have different keys.
    """
    own = _OWN_LETTERS.get(language, {})
    letters: list[Weight] = []
    accents: list[str] = []
    for char in _lower(unicodedata.normalize("NFC", text), language):
        if char in own:
            letters.append((_LETTER, own[char], True))
            accents.append("")
            continue
        for part in unicodedata.normalize("NFKD", char).translate(_LIKE):
            if unicodedata.combining(part):
                accents.append(part)
            elif part.isspace() or is_visible(part):
                letters.append((_kind(part), "i" if part == "ı" else part, part == "ı"))
                accents.append("")
    return tuple(letters), tuple(accents), text.swapcase(), text


def _lower(text: str, language: str) -> str:
    """In small letters. A Turk's I is not the large form of i."""
    if language == "tr":
        text = text.replace("I", "ı").replace("İ", "i")
    return unicodedata.normalize("NFC", text.lower())


def _kind(char: str) -> int:
    if char.isspace():
        return _BLANK
    if char.isdigit():
        return _DIGIT
    return _LETTER if char.isalpha() else _SIGN


class AsRead(Collate):
    """A column of texts as an expression to order by: without regard to case and accents.

    For lists that PostgreSQL cuts into pages. For short ones `sort_key` is exact.
    """

    def __init__(self, field: str) -> None:
        bare = models.Func(
            models.Func(Lower(field), template="normalize(%(expressions)s, NFKD)"),
            template="translate(regexp_replace(%(expressions)s, '[\u0300-\u036f]', '', 'g'),"
            " 'ıøłđ', 'iold')",
            output_field=models.TextField(),
        )
        super().__init__(bare, "C")
