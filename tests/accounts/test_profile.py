"""The profile: what the phone may know and change of its user."""

import re

import pytest

from accounts import tokens
from accounts.models import User

pytestmark = pytest.mark.django_db


def test_a_guests_profile_has_all_that_the_contract_names(guest):
    profile = guest.get("get-user-profile").json()

    created_at, updated_at = profile.pop("created_at"), profile.pop("updated_at")
    assert profile == {
        "id": guest.user_id,
        "email": None,
        "is_guest": True,
        "tier": "free",
        "credits_remaining": 10,
        "credits_total": 10,
        "initial_grant_claimed": True,
        "language": "en",
        "theme_preference": "system",
        "is_admin": False,
        "tos_version": None,
    }
    for moment in (created_at, updated_at):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)


def test_both_paths_of_the_profile_answer_alike(guest):
    assert guest.get("auth/profile").json() == guest.get("get-user-profile").json()


def test_the_profile_needs_a_token(guest, refusal):
    assert refusal(guest.get("get-user-profile", access_token="none")) == (401, "ERR_4005")
    assert guest.get("get-user-profile").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"language": "tr"},
        {"theme_preference": "dark"},
        {"tos_version": "2026-11"},
        {"language": "es", "theme_preference": "light", "tos_version": "3"},
        {},
    ],
)
def test_an_update_changes_what_it_names_and_answers_the_profile(guest, change):
    before = guest.get("get-user-profile").json()

    answer = guest.post("update-user-profile", change)

    assert answer.status_code == 200
    after = guest.get("get-user-profile").json()
    assert answer.json() == after
    after["updated_at"] = before["updated_at"]
    assert after == before | change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"language": "fr"}, "language"),
        ({"language": None}, "language"),
        ({"language": ["tr"]}, "language"),
        ({"theme_preference": "pink"}, "theme_preference"),
        ({"theme_preference": 1}, "theme_preference"),
        ({"tos_version": "\u200b"}, "tos_version"),
        ({"tos_version": "x" * 33}, "tos_version"),
        ({"tos_version": 7}, "tos_version"),
        ({"tos_version": None}, "tos_version"),
    ],
)
def test_a_bad_value_names_its_field_and_changes_nothing(guest, refusal, change, field):
    good = {"language": "tr", "theme_preference": "dark", "tos_version": "1"}

    refused = guest.post("update-user-profile", good | change)

    assert refusal(refused) == (400, "ERR_4008")
    assert list(refused.json()["error"]["details"]["fields"]) == [field]
    assert guest.get("get-user-profile").json()["language"] == "en"
    assert guest.post("update-user-profile", good).status_code == 200


def test_nobody_makes_himself_premium_or_staff(guest):
    before = guest.get("get-user-profile").json()

    answer = guest.post(
        "update-user-profile",
        {"tier": "premium", "is_admin": True, "is_staff": True, "email": "a@b.c", "id": "1"},
    )

    assert answer.status_code == 200
    assert guest.get("get-user-profile").json() == before


def test_a_new_language_stands_in_the_next_access_token(guest):
    guest.post("update-user-profile", {"language": "tr"})

    guest.session = guest.refresh().json()["session"]

    assert tokens.read_access(guest.session["access_token"]).language == "tr"


def test_the_token_of_an_account_that_is_gone_is_no_good(guest, refusal):
    User.objects.filter(id=guest.user_id).update(closed_at="2026-01-01T00:00:00Z")

    assert refusal(guest.get("get-user-profile")) == (401, "ERR_4005")
    assert refusal(guest.post("update-user-profile", {"language": "tr"})) == (401, "ERR_4005")
