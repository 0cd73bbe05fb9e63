"""Visibility of characters.

Hundreds of Unicode characters show nothing: blanks, controls, format characters, fillers. A text of
them has a length but no content, so texts that a person must write are measured by their visible
characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt): shown as nothing by a
# reader that does not know better. Among them Hangul fillers and variation selectors, which are
# letters and marks by their category.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Drawn as an empty place though their category is a symbol or a letter: braille pattern blank,
# object replacement character (what iOS leaves in the place of a dictation), Egyptian blanks, and
# the musical null notehead.
BLANK = "\u2800\ufffc\U00013441\U00013442\U0001d159"

_INVISIBLE = re.compile(f"[{IGNORABLE}{BLANK}]")
# Controls, format characters, halves of surrogates, and separators of all kinds.
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_MARKS_OVER_LETTERS = frozenset({"Mn", "Me"})


def is_visible(char: str) -> bool:
    """Whether the character is visible, alone or over the preceding letter."""
    return unicodedata.category(char) not in _INVISIBLE_CATEGORIES and not _INVISIBLE.match(char)


def has_visible(text: str, *, least: int = 1) -> bool:
    """Whether the text has at least `least` visible characters.

    Blanks do not count. An accent counts only over a letter.
    """
    return any(number >= least for number, _ in enumerate(_visible(text), start=1))


def _visible(text: str) -> Iterator[str]:
    has_letter = False
    for char in text:
        if not is_visible(char):
            continue
        is_mark = unicodedata.category(char) in _MARKS_OVER_LETTERS
        has_letter = has_letter or not is_mark
        if has_letter:
            yield char
