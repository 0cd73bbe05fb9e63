"""Which phones a user is told on: who registered one last has it, and it ends with the session."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services
from accounts.models import PushToken, Session
from accounts.push.outbox import MAX_PUSH_TOKENS
from tests.helpers.phone import Phone, assert_refused

TOKEN = "00FC13AD" * 8


def register(phone, token=TOKEN, **changes):
    answer = phone.post("register-push-token", {"token": token, "platform": "ios"} | changes)
    assert (answer.status_code, answer.json()) == (200, {"success": True}), answer.content


def phones_of(user_id):
    rows = PushToken.objects.filter(user_id=user_id).order_by("registered_at")
    return list(rows.values_list("token", flat=True))


def test_it_is_one_row_in_one_spelling_however_often_it_is_registered(phone):
    register(phone)
    register(phone, TOKEN.lower(), environment="sandbox")

    [row] = PushToken.objects.all()
    assert (row.token, row.platform, row.environment) == (TOKEN.lower(), "ios", "sandbox")
    assert str(row.user_id) == str(phone.user_id)


def test_a_phone_that_changes_hands_is_its_new_users(phone):
    register(phone)
    other = Phone().sign_in()

    register(other)

    assert (phones_of(phone.user_id), phones_of(other.user_id)) == ([], [TOKEN.lower()])


def test_it_is_taken_back_by_its_user_alone(phone):
    register(phone)
    other = Phone().sign_in()

    assert other.post("unregister-push-token", {"token": TOKEN}).json() == {"success": True}
    assert phones_of(phone.user_id) == [TOKEN.lower()]
    assert phone.post("unregister-push-token", {"token": TOKEN}).json() == {"success": True}
    assert phones_of(phone.user_id) == []
    assert phone.post("unregister-push-token", {"token": TOKEN}).json() == {"success": True}


def test_of_many_phones_the_latest_are_kept(phone):
    tokens = [f"{number:064x}" for number in range(MAX_PUSH_TOKENS + 2)]

    for token in tokens:
        register(phone, token)

    assert phones_of(phone.user_id) == tokens[2:]


def test_an_android_phone_is_kept(phone):
    token = "dQw4w9WgXcQ:APA91bH-_" + "x" * 130

    register(phone, token, platform="android")

    assert PushToken.objects.get(token=token).platform == "android"


@pytest.mark.parametrize(("field", "changes"), [
    ("token", {"token": ""}),
    ("token", {"token": None}),
    ("token", {"token": 12}),
    ("token", {"token": "g" * 64}),
    ("token", {"token": "a" * 63}),
    ("token", {"token": "a" * 62}),
    ("token", {"token": "ab" * 101}),
    ("token", {"token": "a" * 1025, "platform": "android"}),
    ("token", {"token": "a b", "platform": "android"}),
    ("token", {"token": "/../" + "ab" * 32}),
    ("platform", {"platform": "windows"}),
    ("platform", {"platform": None}),
    ("environment", {"environment": "development"}),
    ("environment", {"environment": None}),
])  # fmt: skip
def test_what_is_no_token_is_a_400_that_names_the_field(phone, field, changes):
    body = {"token": TOKEN, "platform": "ios"} | changes

    details = assert_refused(phone.post("register-push-token", body), 400, "ERR_4008")

    assert list(details["fields"]) == [field]
    assert not PushToken.objects.exists()


# --- Ends -----------------------------------------------------------------------------------------


def test_it_ends_with_the_session_that_it_was_registered_in(phone):
    other = Phone().sign_in()
    register(other, "ab" * 32)
    register(phone)

    phone.post("auth/logout", {"refresh_token": phone.session["refresh_token"]})

    assert list(PushToken.objects.values_list("token", flat=True)) == ["ab" * 32]


def test_signed_out_in_a_later_session_of_the_phone_it_ends_too(phone):
    register(phone)
    phone.sign_in()

    phone.post("auth/logout", {"refresh_token": phone.session["refresh_token"]})

    assert not PushToken.objects.exists()


def test_it_ends_when_somebody_else_may_hold_the_session(phone, refusal):
    register(phone)
    first = phone.session["refresh_token"]
    phone.post("auth/refresh", {"refresh_token": first})
    Session.objects.update(rotated_at=timezone.now() - timedelta(minutes=5))

    assert refusal(phone.post("auth/refresh", {"refresh_token": first})) == (401, "ERR_4005")

    assert not PushToken.objects.exists()


def test_a_ban_ends_it(phone):
    register(phone)

    with transaction.atomic():
        services.ban_user(
            user_id=phone.user_id, reason="fraud", acting_user_id=uuid4(), now=timezone.now()
        )

    assert not PushToken.objects.exists()


def test_deletion_takes_it_along(phone):
    register(phone)

    assert phone.post("delete-account").status_code == 200

    assert not PushToken.objects.exists()


def test_after_its_session_has_ended_nothing_is_registered(phone):
    Session.objects.update(revoked_at=timezone.now(), revoked_reason="logout")

    body = {"token": TOKEN, "platform": "ios"}  # its access token is good for a moment yet
    assert_refused(phone.post("register-push-token", body), 401, "ERR_4005")

    assert not PushToken.objects.exists()


def test_it_goes_on_when_its_guest_becomes_an_account_and_ends_with_that(guest, person):
    guest.post("register-push-token", {"token": TOKEN, "platform": "ios"})
    before = guest.session["access_token"]

    person.signs_in(guest)

    assert phones_of(guest.user_id) == [TOKEN.lower()]
    body = {"token": "ab" * 32, "platform": "ios"}
    assert guest.post("register-push-token", body, access_token=before).status_code == 200
    assert len(phones_of(guest.user_id)) == 2
    guest.log_out()
    assert phones_of(guest.user_id) == []


def test_a_merge_moves_it_into_the_account_and_its_session(guest, person, new_signed_in):
    person.signs_in(new_signed_in())
    guest.post("register-push-token", {"token": TOKEN, "platform": "ios"})
    guest_id = guest.user_id

    assert person.signs_in(guest).json()["merged"]

    assert guest.user_id != guest_id
    assert phones_of(guest.user_id) == [TOKEN.lower()]
    [row] = PushToken.objects.select_related("session")
    assert (row.session.user_id, row.session.revoked_at) == (row.user_id, None)
    guest.log_out()
    assert phones_of(guest.user_id) == []


# --- Races ----------------------------------------------------------------------------------------


def test_two_users_at_once_leave_it_with_one_of_them(committed, sandbox, at_once):
    phones = [Phone().sign_in() for _ in range(4)]
    token = uuid4().hex * 2

    at_once(*[lambda phone=phone: register(phone, token) for phone in phones])

    row = PushToken.objects.select_related("session").get(token=token)
    assert row.session.user_id == row.user_id
    assert row.user_id in {phone.user_id for phone in phones}


def test_registered_while_signing_out_nothing_stays(committed, sandbox, at_once):
    """Whichever is first: the session's end takes it along, or it is refused."""
    phone = Phone().sign_in()
    token = uuid4().hex * 2
    body = {"token": token, "platform": "ios"}

    at_once(
        lambda: phone.post("auth/logout", {"refresh_token": phone.session["refresh_token"]}),
        *[lambda: phone.post("register-push-token", body) for _ in range(3)],
    )

    assert not PushToken.objects.filter(token=token).exists()


def test_registered_while_signing_in_with_apple_it_is_the_accounts(
    committed, new_person, new_signed_in, at_once
):
    """The app does both when it starts."""
    person = new_person()
    person.signs_in(new_signed_in())
    guest = new_signed_in()
    token = uuid4().hex * 2
    body = {"token": token, "platform": "ios"}
    guest.post("register-push-token", body)

    answers = at_once(
        lambda: person.signs_in(guest, keep=False),
        *[lambda: guest.post("register-push-token", body) for _ in range(3)],
    )

    # The guest's own access token ends with the sign-in; its phone does not.
    assert answers[0].status_code == 200
    assert {answer.status_code for answer in answers[1:]} <= {200, 401}
    row = PushToken.objects.select_related("session").get(token=token)
    assert str(row.user_id) == answers[0].json()["user_id"]
    assert (row.session.user_id, row.session.revoked_at) == (row.user_id, None)
