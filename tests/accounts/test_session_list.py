"""One's own sessions and devices: seen, and ended."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import Device, PushToken, Session

pytestmark = pytest.mark.django_db


def listed(installation):
    answer = installation.get("sessions")
    assert answer.status_code == 200, answer.content
    return answer.json()["sessions"]


def revoke(installation, session_id):
    return installation.post("revoke-session", {"session_id": session_id})


def other_session_id(installation):
    return next(one["session_id"] for one in listed(installation) if not one["current"])


def test_live_sessions_are_listed_the_one_used_last_first(guest):
    guest.check()

    sessions = listed(guest)

    assert [one["current"] for one in sessions] == [True, False]
    assert set(sessions[0]) == {
        "session_id", "device_id", "created_at", "last_used_at", "expires_at", "current",
    }  # fmt: skip
    assert {one["device_id"] for one in sessions} == {guest.public_id}


def test_ended_and_expired_sessions_are_not_listed(guest):
    guest.check()
    guest.check()
    first, second, _ = Session.objects.order_by("id")
    revoke(guest, str(first.id))
    Session.objects.filter(id=second.id).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert [one["current"] for one in listed(guest)] == [True]


def test_devices_are_listed(guest):
    (device,) = guest.get("devices").json()["devices"]

    assert set(device) == {"device_id", "created_at", "last_seen_at"}
    assert device["device_id"] == guest.public_id


def test_an_account_sees_the_devices_that_it_signed_in_on(guest, person, new_signed_in):
    person.signs_in(guest)
    second = new_signed_in()
    person.signs_in(second)

    devices = guest.get("devices").json()["devices"]

    assert {one["device_id"] for one in devices} == {guest.public_id, second.public_id}
    assert len(listed(guest)) == 2


def test_a_revoked_session_ends_and_the_others_go_on(guest, django_capture_on_commit_callbacks):
    old = dict(guest.session)
    guest.check()
    with django_capture_on_commit_callbacks(execute=True):
        assert revoke(guest, other_session_id(guest)).json() == {"success": True}

    assert guest.get("sessions", access_token=old["access_token"]).status_code == 401
    assert guest.refresh(old["refresh_token"]).status_code == 401
    assert guest.get("sessions").status_code == 200


def test_revoking_twice_is_as_once(guest):
    guest.check()
    session_id = other_session_id(guest)

    answers = [revoke(guest, session_id) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_anothers_session_is_not_there(guest, new_signed_in, refusal):
    stranger = new_signed_in()
    own = listed(guest)[0]["session_id"]

    assert refusal(revoke(stranger, own)) == (404, "ERR_4007")
    assert refusal(revoke(stranger, str(uuid4()))) == (404, "ERR_4007")
    assert guest.refresh().status_code == 200
    assert revoke(guest, own).status_code == 200
    assert guest.refresh().status_code == 401


@pytest.mark.parametrize("session_id", [None, "", "x", 7, ["x"]])
def test_a_malformed_session_id_is_a_400(guest, session_id):
    answer = revoke(guest, session_id)

    assert answer.status_code == 400
    assert set(answer.json()["error"]["details"]["fields"]) == {"session_id"}


@pytest.mark.parametrize("path", ["sessions", "devices"])
def test_lists_need_a_session(installation, db, path):
    assert installation.get(path).status_code == 401


def test_an_accounts_revoked_phone_is_not_let_in_by_a_device_check(guest, person, new_signed_in):
    person.signs_in(guest)
    lost = new_signed_in()
    person.signs_in(lost)
    on_the_lost = next(
        one["session_id"] for one in listed(guest) if one["device_id"] == lost.public_id
    )

    revoke(guest, on_the_lost)

    assert lost.refresh().status_code == 401
    assert lost.check().json()["user_id"] != guest.user_id
    assert [str(one.device_id) for one in Device.objects.filter(user_id=guest.user_id)] == [
        guest.device_id
    ]


def test_an_account_leaves_a_phone_whose_sessions_have_run_out(guest, person, new_signed_in):
    person.signs_in(guest)
    lost = new_signed_in()
    lost.post("register-push-token", {"token": "ab" * 32, "platform": "ios"})
    person.signs_in(lost)
    assert PushToken.objects.filter(user_id=guest.user_id).exists()
    on_it = Session.objects.filter(device_id=lost.device_id)
    on_it.update(expires_at=timezone.now() - timedelta(days=1))

    answer = guest.post("revoke-device", {"device_id": lost.device_id})

    assert answer.json() == {"success": True}
    assert [one["device_id"] for one in guest.get("devices").json()["devices"]] == [guest.public_id]
    assert lost.check().json()["user_id"] != guest.user_id
    assert not PushToken.objects.exists()
    assert guest.refresh().status_code == 200


def test_leaving_a_phone_ends_its_sessions(guest, person, new_signed_in, refusal):
    person.signs_in(guest)
    other = new_signed_in()
    person.signs_in(other)

    guest.post("revoke-device", {"device_id": other.public_id})

    assert other.refresh().status_code == 401
    again = guest.post("revoke-device", {"device_id": other.public_id})
    assert refusal(again) == (404, "ERR_4007")


def test_a_guest_that_leaves_its_phone_keeps_it(guest):
    guest.post("revoke-device", {"device_id": guest.device_id})

    assert guest.refresh().status_code == 401
    assert guest.check().json()["user_id"] == guest.user_id


def test_a_device_of_the_release_before_is_left_by_the_id_that_its_list_shows(guest):
    Device.objects.update(stored_public_id="")
    (listed_device,) = guest.get("devices").json()["devices"]

    answer = guest.post("revoke-device", {"device_id": listed_device["device_id"]})

    assert listed_device["device_id"] == guest.public_id
    assert answer.json() == {"success": True}
    assert guest.refresh().status_code == 401


@pytest.mark.parametrize("device_id", [None, "", "x", 7, ["x"], "a" * 15, "g" * 16, "a" * 37])
def test_a_malformed_device_id_is_a_400(guest, device_id):
    answer = guest.post("revoke-device", {"device_id": device_id})

    assert answer.status_code == 400
    assert set(answer.json()["error"]["details"]["fields"]) == {"device_id"}
