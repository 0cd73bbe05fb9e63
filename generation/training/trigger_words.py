"""Words that stand for what a model has learned."""

from __future__ import annotations

import secrets

# Pairs that English and our other languages do not begin or continue a word with, so that no base
# model has a meaning for the whole.
_FIRST = ("zq", "vx", "kz", "wx", "xv", "qz")
_VOWELS = "aeiou"
_CONSONANTS = "bdfgklmnprstvz"


def make_trigger_word() -> str:
    """A word that is no word, such as "zqamolk". There are 117,600."""
    choose = secrets.choice
    return "".join(
        choose(letters) for letters in (_FIRST, _VOWELS, _CONSONANTS, _VOWELS, _CONSONANTS, "kxzv")
    )
