"""What of a text can be seen: Unicode's blanks, controls, fillers and marks say nothing alone."""

from __future__ import annotations

import pytest

from rendio.common.text.visible_text import has_visible

UNSEEN = {
    "nothing": "",
    "blanks": " \u00a0\u2003\u3000",
    "line ends": "\r\n\t\u2028\u2029",
    "controls": "\x01\x07\x85",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "directions": "\u202e\u2066\u2069",
    "soft hyphens": "\u00ad\u00ad\u00ad",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "Khmer inherent vowels": "\u17b4\u17b5",
    "braille without a dot": "\u2800\u2800\u2800",
    "variation selectors": "\ufe0f\ufe0e\U000e0101",
    "tags": "\U000e0061\U000e007f",
    "marks without a letter": "\u0301\u0336\u20dd",
    "objects that are not there": "\ufffc\ufffc\ufffc",
    "an empty notehead": "\U0001d159\U0001d159",
}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_invisible_characters_are_not_counted(text):
    assert not has_visible(text * 9)


def test_invisible_characters_among_letters_are_not_counted():
    assert has_visible("s\u200be\u3164a", least=3)
    assert not has_visible("s\u200b\u3164 \u2800a", least=3)


@pytest.mark.parametrize(
    "text",
    [
        "sea",
        " s e a ",
        "12!",
        "雨の夜",
        "ปู่",  # a letter with a vowel and a tone mark
        "a\u0301b",  # an accent over its letter
        "🎈🎈🎈",
        "👩\u200d🚀👩",
        "🇹🇷!",
        "\ue000\ue001\ue002",  # of somebody's own font
        "\U000323b0\U000323b1\U000323b2",  # not assigned when this Python was made
    ],
)
def test_visible_characters_are_counted(text):
    assert has_visible(text, least=3)
    assert not has_visible(text, least=6)
