"""Device checks at the same time, with real commits."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services
from accounts.due_work import GRANT_WELCOMES
from accounts.models import Device, User, WelcomeClaim
from accounts.services import welcome
from tests.accounts.conftest import new_token
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")


def test_one_phone_calling_eight_times_at_once_is_one_user_with_one_welcome(installation, at_once):
    users = User.objects.count()
    calls = [lambda: installation.post("device-check", installation.check_body)] * 8

    answers = at_once(*calls)

    assert [answer.status_code for answer in answers] == [200] * 8
    bodies = [answer.json() for answer in answers]
    assert len({body["user_id"] for body in bodies}) == 1
    assert [body["credits_remaining"] for body in bodies] == [10] * 8
    assert [body["is_new"] for body in bodies].count(True) == 1
    assert len({body["session"]["refresh_token"] for body in bodies}) == 8
    assert User.objects.count() == users + 1


def test_one_phone_under_eight_names_at_once_gets_one_welcome(installation, at_once):
    calls = [installation.reinstalled().check for _ in range(8)]

    answers = at_once(*calls)

    assert [answer.status_code for answer in answers] == [200] * 8
    credits = sorted(answer.json()["credits_remaining"] for answer in answers)
    assert credits == [0] * 7 + [10]
    assert WelcomeClaim.objects.filter(
        token_hash=welcome.hash_token(installation.device_token), granted_at__isnull=False
    ).exists()


def test_two_tokens_of_one_name_at_once_are_one_user_with_one_welcome(installation, at_once):
    calls = [installation.with_new_token().check for _ in range(6)]

    answers = at_once(*calls)

    bodies = [answer.json() for answer in answers]
    assert len({body["user_id"] for body in bodies}) == 1
    assert [body["credits_remaining"] for body in bodies] == [10] * 6
    assert not WelcomeClaim.objects.filter(
        device_id=installation.device_id, granted_at__isnull=False
    ).exclude(user_id=bodies[0]["user_id"])


def test_eight_strangers_at_once_get_a_welcome_each(new_installation, at_once):
    answers = at_once(*(new_installation().check for _ in range(8)))

    assert [answer.json()["credits_remaining"] for answer in answers] == [10] * 8
    assert len({answer.json()["user_id"] for answer in answers}) == 8


# --- Who does not get the turn in time ------------------------------------------------------------


@pytest.fixture
def turn_is_taken(new_installation, settings):
    """Another phone has the turn, and nobody waits; gives what frees it."""
    settings.WELCOME_WAITERS = 0
    other = new_installation()
    claim = welcome.open_claim(
        device_id=other.device_id,
        device_token=other.device_token,
        had_welcome=False,
        now=timezone.now(),
    )
    turn = welcome.take_turn(claim, device_token=other.device_token, bits=None, seen=None)
    return lambda: welcome.record_won(turn)


def give_due_welcomes():
    return GRANT_WELCOMES.run_batch(now=timezone.now())


def test_who_does_not_get_the_turn_in_time_is_let_in_and_gets_the_welcome_later(
    installation, turn_is_taken, at_once
):
    guest = installation.signed_in()
    assert (guest.answer["is_new"], guest.answer["credits_remaining"]) == (True, 0)
    turn_is_taken()

    at_once(*[give_due_welcomes] * 4)

    assert guest.balance() == 10
    assert guest.get("get-user-profile").json()["initial_grant_claimed"] is True
    again = guest.signed_in().answer
    assert (again["is_new"], again["credits_remaining"]) == (False, 10)
    assert give_due_welcomes() == 0


def test_a_waiting_phone_whose_token_is_refused_brings_another_at_its_next_check(
    installation, turn_is_taken, sandbox
):
    guest = installation.signed_in()
    turn_is_taken()
    sandbox.control("apple/device", device_token=guest.device_token, valid=False)
    give_due_welcomes()
    assert guest.balance() == 0

    guest.device_token = new_token()
    guest.signed_in()
    give_due_welcomes()

    assert guest.balance() == 10


def test_apple_out_of_reach_puts_a_waiting_welcome_off(installation, turn_is_taken, sandbox):
    guest = installation.signed_in()
    turn_is_taken()
    sandbox.control("apple/outage", service="devicecheck", status=503)
    give_due_welcomes()
    assert guest.balance() == 0
    sandbox.control("apple/outage", service="devicecheck", times=0)

    later = timezone.now() + timedelta(minutes=5)
    GRANT_WELCOMES.run_batch(now=later)

    assert guest.balance() == 10


def test_a_waiting_guest_who_joins_an_account_with_a_welcome_gets_no_second(
    installation, new_installation, new_person, turn_is_taken
):
    guest = installation.signed_in()
    turn_is_taken()
    somebody, old_phone = new_person(), new_installation().signed_in()
    assert somebody.signs_in(old_phone).status_code == 200
    assert old_phone.balance() == 10

    assert somebody.signs_in(guest).json()["merged"] is True
    give_due_welcomes()

    assert old_phone.balance() == 10


def test_a_waiting_guest_who_leaves_gets_nothing(installation, turn_is_taken, sandbox):
    guest = installation.signed_in()
    assert guest.post("delete-account", {}).status_code == 200
    turn_is_taken()

    give_due_welcomes()

    assert guest.signed_in().answer["credits_remaining"] == 0


def test_a_claim_that_led_to_nothing_is_swept(installation, new_installation):
    guest = new_installation().signed_in()
    claim = welcome.open_claim(
        device_id=installation.device_id,
        device_token=installation.device_token,
        had_welcome=False,
        now=timezone.now(),
    )

    services.purge_claims(now=claim.started_at + welcome.RETENTION)
    assert WelcomeClaim.objects.filter(pk=claim.pk).exists()
    services.purge_claims(now=claim.started_at + welcome.RETENTION + timedelta(seconds=1))

    assert not WelcomeClaim.objects.filter(pk=claim.pk).exists()
    assert WelcomeClaim.objects.filter(device_id=guest.device_id).exists()


def test_a_sign_in_during_a_ban_waits_and_is_refused(
    committed_guest, at_once, lock_waiters, refusal
):
    def ban():
        with transaction.atomic():
            services.ban_user(
                user_id=committed_guest.user_id,
                reason="fraud",
                acting_user_id=committed_guest.user_id,
                now=timezone.now(),
            )
            banned.append(True)
            wait_for(lambda: lock_waiters("accounts_user"))

    def sign_in():
        wait_for(lambda: banned)
        return committed_guest.check()

    banned = []

    _, answer = at_once(ban, sign_in)

    assert refusal(answer) == (403, "ERR_4018")
    device = Device.objects.get(device_id=committed_guest.device_id)
    assert not device.sessions.filter(revoked_at=None).exists()
