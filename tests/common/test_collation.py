"""Texts are sorted as people sort: by letters, then accents, then case, in each language."""

from __future__ import annotations

import pytest

from generation.models import Theme
from rendio.common.text.collation import AsRead, sort_key
from tests.helpers.model_ids import SORA

# As ICU 77 sorts them, in CLDR's order of each language.
SORTED = {
    "en": ["", "2", "Áb", "abe", "Ac", "cam", "çam", "Çan", "cap", "ı", "ñu", "nz", "Sora 2",
           "Sora 2 from a picture", "Sora 2 Pro", "Şz", "ta", "雨"],
    "es": ["", "2", "Áb", "abe", "Ac", "cam", "çam", "Çan", "cap", "ı", "nz", "ñu", "Sora 2",
           "Sora 2 from a picture", "Sora 2 Pro", "Şz", "ta", "雨"],
    "tr": ["", "2", "Áb", "abe", "Ac", "cam", "cap", "çam", "Çan", "hz", "ı", "I", "ız", "i", "İ",
           "iz", "ñu", "nz", "Sora 2", "Sora 2 from a picture", "Sora 2 Pro", "sz", "Şa", "ta"],
}  # fmt: skip


@pytest.mark.parametrize("language", SORTED)
def test_each_language_has_its_sort_order(language):
    found = sorted(sorted(SORTED[language]), key=lambda text: sort_key(text, language))

    assert found == SORTED[language]


def test_lower_case_sorts_first_and_no_two_texts_are_equal():
    texts = ["resume", "Resume", "résumé", "RÉSUMÉ", "re\u0301sume\u0301", "resume\u200b"]

    found = sorted(texts, key=sort_key)

    assert found[:3] == ["resume", "resume\u200b", "Resume"]
    assert found[-1] == "RÉSUMÉ"
    assert len({sort_key(text) for text in texts}) == len(texts)


def test_postgresql_sorts_pages_in_the_same_order(db):
    names = ["Áb", "abe", "Ac", "cam", "Çan", "cap", "İz", "Sora 2 from a picture", "Sora 2 Pro"]
    Theme.objects.all().delete()
    for name in sorted(names):
        Theme.objects.create(name=name, category="c", default_prompt="A cat", model_id=SORA)

    assert list(Theme.objects.order_by(AsRead("name")).values_list("name", flat=True)) == names
    newest = Theme.objects.order_by(AsRead("name").desc()).values_list("name", flat=True)
    assert list(newest) == names[::-1]
