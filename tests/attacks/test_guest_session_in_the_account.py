"""An attacker has a session of a guest, who then signs in with Apple."""

from __future__ import annotations

import pytest

from accounts.models import PushToken, Session
from tests.accounts.conftest import (
    committed_guest,
    installation,
    new_installation,
    new_person,
    person,
)
from tests.helpers.concurrency import at_once

__all__ = [  # fixtures
    "committed_guest",
    "installation",
    "new_installation",
    "new_person",
    "person",
]


@pytest.fixture
def victim(committed_guest):
    """A guest with a second session, on the same phone."""
    return committed_guest


@pytest.fixture
def stolen(victim):
    """The guest's first session, which the victim no longer uses."""
    stolen = dict(victim.session)
    victim.check()
    assert victim.get("get-user-profile", access_token=stolen["access_token"]).status_code == 200
    return stolen


def is_dead(victim, session) -> bool:
    answers = [
        victim.get("get-user-profile", access_token=session["access_token"]),
        victim.refresh(session["refresh_token"]),
    ]
    return [answer.status_code for answer in answers] == [401, 401]


def test_a_guest_session_from_before_the_first_sign_in_is_dead_in_the_account(
    victim, stolen, person
):
    assert person.signs_in(victim).status_code == 200

    assert is_dead(victim, stolen)
    assert victim.get("get-user-profile").json()["email"] == person.email
    assert victim.refresh().status_code == 200
    reasons = Session.objects.filter(user_id=victim.user_id).values_list(
        "revoked_reason", flat=True
    )
    assert sorted(reasons) == ["", "", "sign_in"]


def test_a_guest_session_is_dead_after_a_merge_and_other_phones_of_the_account_stay_signed_in(
    victim, stolen, person, new_installation
):
    other_phone = new_installation().signed_in()
    person.signs_in(other_phone)

    assert person.signs_in(victim).json()["merged"] is True

    assert is_dead(victim, stolen)
    assert victim.get("get-user-profile").status_code == 200
    assert other_phone.get("get-user-profile").status_code == 200
    assert other_phone.refresh().status_code == 200


def test_a_session_that_is_refreshed_during_the_sign_in_is_dead_after_it(victim, stolen, person):
    tokens = person.tokens()

    refreshed, signed_in = at_once(
        lambda: victim.refresh(stolen["refresh_token"]),
        lambda: person.signs_in(victim, tokens=tokens, access_token=victim.session["access_token"]),
    )

    assert signed_in.status_code == 200
    assert is_dead(victim, stolen)
    if refreshed.status_code == 200:
        assert is_dead(victim, refreshed.json()["session"])
    assert victim.get("get-user-profile").status_code == 200


def test_signing_in_again_on_an_account_leaves_its_other_phones_signed_in(
    victim, person, new_installation
):
    other_phone = new_installation().signed_in()
    person.signs_in(victim)
    person.signs_in(other_phone)

    assert person.signs_in(victim).json()["merged"] is False

    assert other_phone.get("get-user-profile").status_code == 200
    assert other_phone.refresh().status_code == 200


def test_a_sign_in_keeps_the_push_token_that_an_earlier_session_of_the_phone_registered(
    victim, person
):
    victim.post("register-push-token", {"token": "cd" * 32, "platform": "ios"})
    victim.check()

    person.signs_in(victim)

    token = PushToken.objects.get(user_id=victim.user_id)
    assert token.token == "cd" * 32
    assert token.session.revoked_at is None


def test_a_sign_in_whose_answer_was_lost_can_be_repeated(victim, person):
    before = dict(victim.session)
    lost = person.signs_in(victim, keep=False).json()["session"]

    again = person.signs_in(victim, access_token=before["access_token"])

    assert again.status_code == 200
    for session in [lost, victim.session]:
        assert (
            victim.get("get-user-profile", access_token=session["access_token"]).status_code == 200
        )
