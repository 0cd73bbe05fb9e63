"""get-models and get-themes: models on sale, and caching by ETag."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.test import Client

from generation.catalogue import cache
from generation.models import GenerationModel, Theme
from tests.helpers.model_ids import SORA, VEO

MODEL_FIELDS = {
    "id",
    "name",
    "category",
    "kind",
    "description",
    "provider",
    "is_featured",
    "thumbnail_url",
    "pricing_type",
    "base_price",
    "min_credits",
    "required_fields",
    "settings",
}
THEME_FIELDS = {
    "id",
    "name",
    "description",
    "category",
    "default_prompt",
    "default_settings",
    "thumbnail_url",
    "model_id",
}
SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
SORA_PRO = "00000000-0000-4000-8000-000000000005"
PIKA = "00000000-0000-4000-8000-000000000006"


@pytest.fixture
def get(db):
    client = Client()
    return lambda path, **headers: client.get(f"/v1/{path}", headers=headers)


def models(get):
    return {model["id"]: model for model in get("get-models").json()["models"]}


def test_models_need_no_session_and_have_the_fields_of_the_contract(get):
    found = models(get)

    assert set(found[str(SORA)]) == MODEL_FIELDS
    assert set(found[SORA_PRO]) == MODEL_FIELDS | {"multipliers"}
    assert found[SORA_PRO]["multipliers"]["resolution"] == {"720p": 1.0, "1080p": 1.5}


def test_a_garbled_token_does_not_close_a_public_call(get):
    assert get("get-models", Authorization="Bearer garbled").status_code == 200


def test_featured_models_come_first_then_by_name(get):
    order = [(not m["is_featured"], m["name"]) for m in get("get-models").json()["models"]]

    assert [is_other for is_other, _ in order] == sorted(is_other for is_other, _ in order)
    others = [name for is_other, name in order if is_other]
    # As people sort, not by bytes.
    assert others.index("Sora 2 from a picture") < others.index("Sora 2 Pro")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["çay", "Çok", "dun", "Ilık", "iz", "ñam", "nu", "Şeker", "szene", "Zoo"]),
        ("tr", ["çay", "Çok", "dun", "Ilık", "iz", "ñam", "nu", "szene", "Şeker", "Zoo"]),
        ("es-MX", ["çay", "Çok", "dun", "Ilık", "iz", "nu", "ñam", "Şeker", "szene", "Zoo"]),
    ],
)
def test_names_are_sorted_as_readers_of_the_language_sort(get, language, expected):
    template = Theme.objects.first()
    Theme.objects.all().delete()
    for name in sorted(expected):
        Theme.objects.create(
            name=name, category="c", default_prompt="A cat", model_id=template.model_id
        )
    cache.invalidate()

    answer = get("get-themes", Accept_Language=language)

    assert [theme["name"] for theme in answer.json()["themes"]] == expected
    assert "Accept-Language" in answer.headers["Vary"]
    others = get("get-themes", Accept_Language="en", If_None_Match=answer.headers["ETag"])
    assert others.status_code == (304 if language == "en" else 200)


def test_sora_2_is_shown_as_it_is_sold(get):
    sora = models(get)[str(SORA)]

    assert (sora["pricing_type"], sora["base_price"], sora["min_credits"]) == ("duration", 0.4, 4)
    assert sora["settings"]["duration"] == {"allowed": [4, 8, 12], "default": 4}
    assert (sora["provider"], sora["required_fields"]) == ("fal", ["prompt"])


def test_the_least_price_is_that_of_the_cheapest_settings(get):
    found = models(get)

    assert (found[SORA_PRO]["min_credits"], found[PIKA]["min_credits"]) == (18, 5)


def test_a_model_from_pictures_says_that_it_needs_one(get):
    assert models(get)[SORA_FROM_PICTURE]["required_fields"] == ["prompt", "image_url"]


def test_themes_have_the_fields_of_the_contract_and_name_models_on_sale(get):
    themes = get("get-themes").json()["themes"]

    assert len(themes) == 12
    assert all(set(theme) == THEME_FIELDS for theme in themes)
    assert {theme["model_id"] for theme in themes} <= set(models(get))


@pytest.mark.parametrize("path", ["get-models", "get-themes"])
def test_who_has_the_list_gets_304_and_who_has_another_gets_it(get, path):
    first = get(path)
    etag = first.headers["ETag"]

    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = get(path, If_None_Match=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
    assert get(path, If_None_Match='"other"').content == first.content


def test_a_change_of_the_catalogue_changes_its_etag(get):
    etag = get("get-models").headers["ETag"]
    GenerationModel.objects.filter(id=SORA).update(base_price_usd="0.50")
    cache.invalidate()

    changed = get("get-models", If_None_Match=etag)

    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_a_model_off_sale_is_gone_with_its_themes(get):
    GenerationModel.objects.filter(id=SORA).update(is_available=False)
    cache.invalidate()

    assert str(SORA) not in models(get)
    assert str(SORA) not in {t["model_id"] for t in get("get-themes").json()["themes"]}


def test_a_model_without_an_enabled_route_is_not_sold(get):
    GenerationModel.objects.get(id=SORA).routes.update(is_enabled=False)
    cache.invalidate()

    assert str(SORA) not in models(get)


@pytest.mark.parametrize(
    "mistake",
    [
        {"settings": {"resolution": {"allowed": ["720p"], "default": "720p"}}},  # no duration
        {"settings": {"duration": {"default": 4}}},
        {"settings": {"duration": [4, 8]}},
        {"pricing_type": "variable", "multipliers": {"duration": {"4": "cheap"}}},
        {"pricing_type": "variable", "multipliers": ["4"]},
    ],
)
def test_a_model_that_cannot_be_priced_does_not_take_the_others_off_sale(get, mistake):
    GenerationModel.objects.filter(id=SORA).update(**mistake)
    cache.invalidate()

    assert str(SORA) not in models(get)
    assert str(VEO) in models(get)


def test_a_theme_taken_off_is_not_shown(get):
    theme = Theme.objects.order_by("name").first()
    Theme.objects.filter(id=theme.id).update(is_available=False)
    cache.invalidate()

    assert UUID(str(theme.id)) not in {UUID(t["id"]) for t in get("get-themes").json()["themes"]}


def test_a_model_of_a_kind_that_this_release_does_not_know_is_left_out(get):
    """While a newer release is deployed, its migration has run and this process still serves."""
    GenerationModel.objects.filter(id=SORA).update(kind="text-to-hologram")
    cache.invalidate()

    found = models(get)

    assert str(SORA) not in found
    assert SORA_PRO in found
