"""Device checks at the same time, with real commits."""

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services
from accounts.models import Device, User, WelcomeClaim
from accounts.services import devices
from tests.patience import eventually

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
        token_hash=devices.hash_token(installation.device_token), granted_at__isnull=False
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
            eventually(lambda: lock_waiters("accounts_user"))

    def sign_in():
        eventually(lambda: banned)
        return committed_guest.check()

    banned = []

    _, answer = at_once(ban, sign_in)

    assert refusal(answer) == (403, "ERR_4018")
    device = Device.objects.get(device_id=committed_guest.device_id)
    assert not device.sessions.filter(revoked_at=None).exists()
