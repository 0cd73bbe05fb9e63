"""An attacker knows a customer's device_id, and has a genuine iPhone of their own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import tokens
from accounts.models import AttestedKey, Device, Session
from tests.accounts.conftest import (
    Installation,
    guest,
    installation,
    new_installation,
    new_person,
    person,
    process,
    refusal,
)
from tests.accounts.test_welcome_crashes import CLAIM, MARK, SETTLE, TURN, WON
from tests.helpers.concurrency import at_once
from tests.helpers.phone import assert_refused
from tests.helpers.secure_enclave import ROOT, AttestedApp

__all__ = [  # fixtures
    "guest",
    "installation",
    "new_installation",
    "new_person",
    "person",
    "process",
    "refusal",
]

UNPROVEN = {"problem": "installation_unproven"}


def thief_of(victim: Installation) -> Installation:
    """The victim's device_id on other hardware, with another secret and no session."""
    return Installation(device_id=victim.device_id)


def without_secret(victim: Installation) -> Installation:
    """The victim's device as the release before has stored it."""
    Device.objects.filter(device_id=victim.device_id).update(secret_hash="", stored_public_id="")
    return victim


def refused(answer) -> bool:
    return assert_refused(answer, 403, "ERR_4012") == UNPROVEN


def secret_is_stored(victim: Installation) -> bool:
    return Device.objects.get(device_id=victim.device_id).secret_hash != ""


@pytest.mark.parametrize("is_account", [False, True])
def test_a_known_device_id_with_a_token_of_other_hardware_is_refused(guest, person, is_account):
    if is_account:
        person.signs_in(guest)
    sessions = Session.objects.count()

    assert refused(thief_of(guest).check())

    assert Session.objects.count() == sessions
    assert guest.check().json()["user_id"] == guest.user_id


def test_apple_is_not_asked_about_a_refused_installation(guest, sandbox):
    before = len(sandbox.requests("apple"))

    assert refused(thief_of(guest).check())

    assert len(sandbox.requests("apple")) == before


def test_a_session_of_another_user_proves_nothing(guest, new_installation):
    attacker = new_installation().signed_in()
    body = thief_of(guest).check_body

    assert refused(attacker.post("device-check", body))
    without_secret(guest)
    assert refused(attacker.post("device-check", body))


def test_a_refused_app_starts_anew_as_a_guest_without_a_second_welcome(guest):
    reinstalled = guest.reinstalled()
    reinstalled.device_id = guest.device_id
    assert refused(reinstalled.check())

    anew = guest.reinstalled().signed_in()

    assert anew.user_id != guest.user_id
    assert anew.answer["is_new"]
    assert anew.balance() == 0


def test_a_secret_is_stored_as_a_keyed_hash_that_a_new_key_replaces(guest, settings):
    stored = Device.objects.get().secret_hash
    old_id, old_key = next(iter(settings.INSTALLATION_KEYS.items()))
    assert guest.installation_secret not in stored

    settings.INSTALLATION_KEYS = {"new": "n" * 32, old_id: old_key}
    assert refused(thief_of(guest).check())
    assert guest.check().status_code == 200
    assert Device.objects.get().secret_hash.startswith("new:")

    settings.INSTALLATION_KEYS = {"new": "n" * 32}
    assert guest.check().status_code == 200
    settings.INSTALLATION_KEYS = {old_id: old_key}
    assert refused(guest.check())


# --- Devices of the release before, which have no secret ------------------------------------------


def test_a_device_without_a_secret_accepts_the_first_that_comes_with_its_live_session(guest):
    without_secret(guest)
    assert refused(thief_of(guest).check())
    assert not secret_is_stored(guest)

    assert guest.check().status_code == 200

    assert secret_is_stored(guest)
    assert refused(thief_of(guest).check())
    guest.session = None
    assert guest.check().status_code == 200


def test_after_a_sign_in_the_session_that_continues_counts_as_the_live_one(guest, person):
    before = dict(guest.session)
    person.signs_in(guest)
    without_secret(guest)
    guest.session = before

    assert guest.check().json()["user_id"] == guest.user_id


@pytest.mark.parametrize("end", ["revoked", "expired", "left", "other device", "forged"])
def test_a_session_that_is_not_live_on_the_device_stores_no_secret(guest, person, end, settings):
    without_secret(guest)
    mine = Session.objects.filter(device_id=guest.device_id)
    now = timezone.now()
    match end:
        case "revoked":
            mine.update(revoked_at=now, revoked_reason="logout")
        case "expired":
            mine.update(expires_at=now - timedelta(seconds=1))
        case "left":
            Device.objects.update(user=None)
        case "other device":
            second = Installation().signed_in()
            person.signs_in(guest)
            person.signs_in(second)
            assert second.user_id == guest.user_id
            guest.session = second.session
        case "forged":
            claims = tokens.read_access(guest.session["access_token"])
            settings.SESSION_SIGNING_KEYS = {"other": "x" * 32}
            guest.session["access_token"] = tokens.issue_access(
                user_id=claims.user_id, session_id=claims.session_id, language="en", now=now
            )
            settings.SESSION_SIGNING_KEYS = {"mine": "y" * 32}

    assert refused(guest.check())
    assert not secret_is_stored(guest)


def test_a_device_without_a_secret_accepts_any_only_until_the_end_of_the_window(guest, settings):
    without_secret(guest)
    guest.session = None
    settings.INSTALLATION_SECRET_GRACE_UNTIL = timezone.now() - timedelta(seconds=1)
    assert refused(guest.check())

    settings.INSTALLATION_SECRET_GRACE_UNTIL = timezone.now() + timedelta(minutes=1)
    assert guest.check().json()["user_id"] == guest.user_id

    assert refused(thief_of(guest).check())


# --- App Attest -----------------------------------------------------------------------------------


@pytest.fixture
def attested(settings, guest):
    """The victim's app, whose key Apple vouches for, where each check has to be signed."""
    settings.APP_ATTEST_ROOT = ROOT.pem
    settings.REQUIRE_APP_ATTEST = True
    app = AttestedApp(guest)
    assert app.attests().status_code == 200
    assert app.checks().status_code == 200
    return app


def test_a_key_of_another_phone_is_not_attested_for_a_known_device_id(attested):
    thief = AttestedApp(thief_of(attested.phone))

    assert refused(thief.attests())

    assert AttestedKey.objects.count() == 1
    assert refused(thief.checks())


def test_a_key_attested_before_the_first_check_does_not_count_for_the_installation(
    db, settings, installation
):
    settings.APP_ATTEST_ROOT = ROOT.pem
    thief = AttestedApp(thief_of(installation))
    assert thief.attests().status_code == 200

    installation.signed_in()

    assert refused(thief.checks())
    # Not even with the secret: it was attested by another installation.
    thief.phone.installation_secret = installation.installation_secret
    answer = thief.checks()
    assert assert_refused(answer, 403, "ERR_4012") == {"app_attest": "unknown_key"}


def test_a_key_without_a_secret_no_longer_counts_and_the_app_attests_another(attested):
    AttestedKey.objects.update(secret_hash="")
    answer = attested.checks()
    assert assert_refused(answer, 403, "ERR_4012") == {"app_attest": "unknown_key"}

    renewed = AttestedApp(attested.phone)

    assert renewed.attests().status_code == 200
    assert renewed.checks().status_code == 200


def test_an_attested_key_outlives_a_new_key_of_ours(attested, settings):
    old_id, old_key = next(iter(settings.INSTALLATION_KEYS.items()))
    settings.INSTALLATION_KEYS = {"new": "n" * 32, old_id: old_key}
    assert attested.checks().status_code == 200

    settings.INSTALLATION_KEYS = {"new": "n" * 32}

    assert attested.checks().status_code == 200


@pytest.mark.parametrize("secret", [None, "s" * 31, "s" * 129, 7])
def test_an_attestation_needs_the_installations_secret(attested, secret):
    body = attested.body() | {"installation_secret": secret}

    details = assert_refused(attested.phone.post("attest-device", body), 400, "ERR_4008")

    assert list(details["fields"]) == ["installation_secret"]


# --- Races and crashes ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_known", [False, True])
def test_of_two_first_checks_at_once_with_different_secrets_one_wins(
    committed, sandbox, settings, is_known
):
    first = Installation()
    if is_known:  # by the release before
        without_secret(first.signed_in())
        first.session = None
        settings.INSTALLATION_SECRET_GRACE_UNTIL = timezone.now() + timedelta(minutes=1)
    rivals = [first, *(Installation(device_id=first.device_id) for _ in range(3))]

    answers = at_once(*(rival.check for rival in rivals))

    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
    (winner,) = [
        rival
        for rival, answer in zip(rivals, answers, strict=True)
        if answer.status_code == 200 or not refused(answer)
    ]
    for rival in rivals:
        again = rival.check()
        assert again.status_code == 200 if rival is winner else refused(again)
    assert Device.objects.filter(device_id=first.device_id).count() == 1


@pytest.mark.parametrize("steps", [[CLAIM], [CLAIM, TURN, MARK], [CLAIM, TURN, MARK, WON, SETTLE]])
def test_after_a_crash_the_installation_goes_on_and_keeps_its_device_id(
    committed, installation, process, steps
):
    process(installation, *steps).dies()
    if SETTLE in steps:
        assert refused(thief_of(installation).check())

    signed_in = installation.signed_in()

    assert signed_in.answer["credits_remaining"] == 10
    assert refused(thief_of(installation).check())
