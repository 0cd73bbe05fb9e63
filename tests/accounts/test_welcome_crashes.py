"""The welcome survives a crash at each line between Apple and our commit: given once, never lost.

A real process goes through the steps of accounts.services.devices and dies; then the phone tries
again.
"""

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import devicecheck
from accounts.errors import AppleOutcomeUnknown, IdentityServiceUnavailable
from accounts.models import Device, User, WelcomeClaim
from accounts.services import devices
from tests.patience import eventually

pytestmark = pytest.mark.usefixtures("committed")

CLAIM = "devices.claim_welcome(**about, had_welcome=bits.bit0, now=now)"
MARK = "devices.mark_welcomed(device_token=token, bits=bits)"
SETTLE = "devices.settle(**about, proof=proof, may_welcome=True, now=now)"


def is_marked(sandbox, installation):
    known = sandbox.control("apple/device", device_token=installation.device_token, valid=True)
    return bool(known["bit0"])


def gets_it_now_and_never_again(installation):
    """Whoever retries has ten credits; the same phone once more, or reinstalled, gets none."""
    answer = installation.signed_in().answer
    assert (answer["credits_remaining"], answer["is_new"]) == (10, True)
    user_id = answer["user_id"]
    again = installation.signed_in().answer
    assert (again["user_id"], again["credits_remaining"]) == (user_id, 10)
    assert installation.reinstalled().signed_in().answer["credits_remaining"] == 0
    return True


def test_a_crash_after_apple_was_asked_loses_nothing(installation, sandbox, process):
    process(installation).dies()

    assert not is_marked(sandbox, installation)
    assert gets_it_now_and_never_again(installation)


def test_a_crash_after_the_claim_loses_nothing(installation, sandbox, process):
    process(installation, CLAIM).dies()

    assert WelcomeClaim.objects.filter(device_id=installation.device_id).exists()
    assert not is_marked(sandbox, installation)
    assert gets_it_now_and_never_again(installation)


def test_a_crash_after_apple_was_told_loses_nothing(installation, sandbox, process):
    process(installation, CLAIM, MARK).dies()

    assert is_marked(sandbox, installation)
    assert not Device.objects.filter(device_id=installation.device_id).exists()
    assert gets_it_now_and_never_again(installation)


def test_a_retry_after_a_crash_may_bring_a_new_token_of_the_hardware(
    installation, sandbox, process
):
    process(installation, CLAIM, MARK).dies()
    retry = installation.with_new_token()
    sandbox.control("apple/device", device_token=retry.device_token, bit0=True)

    assert gets_it_now_and_never_again(retry)
    # The token of the crash is worth nothing under another name either.
    assert installation.reinstalled().signed_in().answer["credits_remaining"] == 0


@pytest.mark.parametrize("table", ["accounts_welcomeclaim", "credits_wallet", "accounts_session"])
def test_a_crash_within_the_last_transaction_loses_nothing(
    installation, process, lock_waiters, table
):
    users = User.objects.count()
    with transaction.atomic():
        dying = process(installation, CLAIM, MARK, r"input('here\n')", SETTLE)
        dying.reaches_its_input()
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        # There it waits for the table, its transaction open, until it is killed.
        dying.goes_on()
        eventually(lambda: lock_waiters(table))
        dying.kill()

    eventually(lambda: not lock_waiters(table))
    assert User.objects.count() == users
    assert gets_it_now_and_never_again(installation)


def test_a_crash_after_the_commit_gives_nothing_twice(installation, process):
    process(installation, CLAIM, MARK, SETTLE).dies()

    answer = installation.signed_in().answer

    assert (answer["is_new"], answer["credits_remaining"]) == (False, 10)
    assert installation.reinstalled().signed_in().answer["credits_remaining"] == 0


def test_crash_upon_crash_loses_nothing(installation, process):
    process(installation, CLAIM).dies()
    process(installation, CLAIM, MARK).dies()
    process(installation, CLAIM, MARK).dies()

    assert gets_it_now_and_never_again(installation)


def claimed(installation):
    now = timezone.now()
    bits = devicecheck.query_bits(installation.device_token)
    assert devices.claim_welcome(
        device_id=installation.device_id,
        device_token=installation.device_token,
        had_welcome=bits.bit0,
        now=now,
    )
    return bits


def test_an_outage_between_the_two_calls_is_a_503_and_loses_nothing(installation, apple, refusal):
    apple.answers = [(200, "Failed to find bit state"), (503, "Service unavailable")]

    refused = installation.check()

    assert refusal(refused) == (503, "ERR_5004")
    assert not Device.objects.filter(device_id=installation.device_id).exists()
    apple.answers = [(200, "Failed to find bit state"), (200, "")]
    assert installation.check().json()["credits_remaining"] == 10


@pytest.mark.parametrize("answer", [None, (500, "Internal error"), (504, "Gateway timeout")])
def test_apple_may_have_set_the_bit_although_no_good_answer_came(installation, apple, answer):
    apple.answers = [(200, "Failed to find bit state"), answer]
    assert installation.check().status_code == 503

    apple.answers = [
        (200, '{"bit0": true, "bit1": false, "last_update_time": "2026-11"}'),
        (200, ""),
    ]

    assert installation.check().json()["credits_remaining"] == 10


def test_an_outage_does_not_let_one_phone_collect_welcomes_under_many_names(
    installation, new_installation, sandbox
):
    names = [installation, installation.reinstalled(), new_installation()]
    for name in names:
        bits = claimed(name)
        sandbox.control("apple/outage", service="devicecheck", status=503, times=1)
        with pytest.raises(IdentityServiceUnavailable) as refused:
            devices.mark_welcomed(device_token=name.device_token, bits=bits)
        assert not isinstance(refused.value, AppleOutcomeUnknown)
    first = names[0].signed_in().answer
    # The third has another token of the same hardware.
    sandbox.control("apple/device", device_token=names[2].device_token, bit0=True)

    others = [name.signed_in().answer for name in names[1:]]

    assert first["credits_remaining"] == 10
    assert [other["credits_remaining"] for other in others] == [0, 0]


def test_a_claim_that_a_parallel_call_left_behind_earns_nothing(installation, sandbox, process):
    process(installation, CLAIM, MARK).dies()
    twin = installation.with_new_token()
    sandbox.control("apple/device", device_token=twin.device_token, bit0=True)
    twin.signed_in()
    WelcomeClaim.objects.filter(token_hash=devices.hash_token(installation.device_token)).update(
        granted_at=None, user=None
    )

    under_another_name = installation.reinstalled().signed_in().answer

    assert twin.answer["credits_remaining"] == 10
    assert under_another_name["credits_remaining"] == 0
