"""Price simulation: by the live pricing code, and nothing changes."""

from __future__ import annotations

import pytest

from generation.models import GenerationModel
from tests.adminops.conftest import Staff, staff_user
from tests.helpers.model_ids import SORA


def rows(staff, **query):
    page = staff.see("try_price", model=str(SORA), **query)
    assert page.status_code == 200, page.content
    table = page.context["table"]
    return [(row[0], row[1], row[2], str(row[3])) for row in table["rows"]]


def test_every_choice_is_shown_as_it_is_sold_now(support, phone):
    shown = rows(support)

    by_duration = {text.split(",")[0]: (now, then) for text, now, then, _ in shown}
    assert by_duration["duration 8"] == (8, 8)
    assert (
        phone.post(
            "quote-video", {"model_id": str(SORA), "prompt": "A cat", "settings": {"duration": 8}}
        ).json()["credits"]
        == 8
    )
    assert all("fal $" in margins for *_, margins in shown)


def test_a_draft_price_changes_only_the_simulation(support, phone):
    before = GenerationModel.objects.values().get(id=SORA)

    dearer = {row[0].split(",")[0]: row for row in rows(support, base_price_usd="0.80")}
    cheaper = {row[0].split(",")[0]: row for row in rows(support, base_price_usd="0.01")}

    assert dearer["duration 8"][1:3] == (8, 16)
    assert cheaper["duration 8"][1:3] == (8, 1)
    assert ": -" in cheaper["duration 8"][3]  # sold below cost
    assert GenerationModel.objects.values().get(id=SORA) == before


@pytest.mark.parametrize(
    "draft",
    [
        {"base_price_usd": "0"},
        {"base_price_usd": "-1"},
        {"base_price_usd": "NaN"},
        {"pricing_type": "free"},
        {"multipliers": "[]"},
        {"multipliers": '{"fps": {"24": "2"}}'},
        {"model": "x"},
    ],
)
def test_an_invalid_draft_price_is_reported(support, draft):
    page = support.see("try_price", **{"model": str(SORA)} | draft)

    assert page.status_code == 200
    assert page.context["form"].errors
    assert page.context["table"] is None


def test_the_price_simulation_needs_the_permission_to_view_models(db):
    assert Staff(staff_user("fay", role="finance")).see("try_price").status_code == 200
    assert Staff(staff_user("tom")).see("try_price").status_code == 403
