"""The welcome survives a crash at each line between Apple and our commit: given once, never lost.

A real process goes through the steps of accounts.services.welcome and dies; then the phone tries
again, or a worker or another phone finishes the turn that was abandoned.
"""

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.due_work import GRANT_WELCOMES
from accounts.models import Device, User, WelcomeClaim, WelcomeTurn
from accounts.services import welcome
from tests.accounts.conftest import one_phone
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")

CLAIM = "claim = welcome.open_claim(**about, had_welcome=bits.bit0, now=now)"
TURN = "turn = welcome.take_turn(claim, device_token=token, bits=bits, seen=seen)"
MARK = "welcome.set_welcome_bit(turn, device_token=token, bits=bits)"
WON = "welcome.record_won(turn)"
SETTLE = (
    "devices.complete_device_check(**about, proof=proof,"
    " welcome_status=welcome.WelcomeStatus.DUE, is_banned=False, now=now)"
)


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


@pytest.mark.parametrize("steps", [[CLAIM], [CLAIM, TURN]])
def test_a_crash_before_apple_is_told_loses_nothing(installation, sandbox, process, steps):
    process(installation, *steps).dies()

    assert WelcomeClaim.objects.filter(device_id=installation.device_id).exists()
    assert not is_marked(sandbox, installation)
    assert gets_it_now_and_never_again(installation)


@pytest.mark.parametrize("steps", [[CLAIM, TURN, MARK], [CLAIM, TURN, MARK, WON]])
def test_a_crash_after_apple_was_told_loses_nothing(installation, sandbox, process, steps):
    process(installation, *steps).dies()

    assert is_marked(sandbox, installation)
    assert not Device.objects.filter(device_id=installation.device_id).exists()
    assert gets_it_now_and_never_again(installation)


@pytest.mark.parametrize("steps", [[CLAIM, TURN, MARK], [CLAIM, TURN, MARK, WON]])
def test_a_retry_after_a_crash_may_bring_a_new_token_of_the_hardware(
    installation, sandbox, process, steps
):
    retry = one_phone(sandbox, installation, installation.with_new_token())[1]
    process(installation, *steps).dies()

    assert gets_it_now_and_never_again(retry)
    # The token of the crash is worth nothing under another name either.
    assert installation.reinstalled().signed_in().answer["credits_remaining"] == 0


@pytest.mark.parametrize("table", ["accounts_welcomeclaim", "credits_wallet", "accounts_session"])
def test_a_crash_within_the_last_transaction_loses_nothing(
    installation, process, lock_waiters, table
):
    users = User.objects.count()
    with transaction.atomic():
        dying = process(installation, CLAIM, TURN, MARK, WON, r"input('here\n')", SETTLE)
        dying.reaches_its_input()
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        # There it waits for the table, its transaction open, until it is killed.
        dying.goes_on()
        wait_for(lambda: lock_waiters(table))
        dying.kill()

    wait_for(lambda: not lock_waiters(table))
    assert User.objects.count() == users
    assert gets_it_now_and_never_again(installation)


def test_a_crash_after_the_commit_gives_nothing_twice(installation, process):
    process(installation, CLAIM, TURN, MARK, WON, SETTLE).dies()

    answer = installation.signed_in().answer

    assert (answer["is_new"], answer["credits_remaining"]) == (False, 10)
    assert installation.reinstalled().signed_in().answer["credits_remaining"] == 0


def test_crash_upon_crash_loses_nothing(installation, process):
    process(installation, CLAIM).dies()
    process(installation, CLAIM, TURN, MARK).dies()
    process(installation, CLAIM, TURN, MARK).dies()

    assert gets_it_now_and_never_again(installation)


# --- A turn that was abandoned --------------------------------------------------------------------


def lease_ends():
    """As after TURN_SECONDS."""
    WelcomeTurn.objects.update(leased_until=timezone.now())
    WelcomeClaim.objects.filter(due_at__isnull=False).update(due_at=timezone.now())


@pytest.mark.parametrize("steps", [[CLAIM, TURN], [CLAIM, TURN, MARK]])
def test_another_phone_finishes_an_abandoned_turn_and_both_get_their_welcome(
    installation, new_installation, sandbox, process, steps
):
    process(installation, *steps).dies()
    lease_ends()

    other = new_installation().signed_in()

    assert other.answer["credits_remaining"] == 10
    assert is_marked(sandbox, installation)
    assert gets_it_now_and_never_again(installation)


@pytest.mark.parametrize("steps", [[CLAIM, TURN], [CLAIM, TURN, MARK]])
def test_the_same_phone_under_another_name_gets_nothing_of_an_abandoned_turn(
    installation, new_installation, sandbox, process, steps
):
    _, twin, late_twin = one_phone(sandbox, installation, new_installation(), new_installation())
    process(installation, *steps).dies()
    lease_ends()

    assert twin.signed_in().answer["credits_remaining"] == 0
    assert installation.signed_in().answer["credits_remaining"] == 10
    assert late_twin.signed_in().answer["credits_remaining"] == 0


def test_a_worker_finishes_an_abandoned_turn(installation, sandbox, process):
    process(installation, CLAIM, TURN).dies()
    lease_ends()

    GRANT_WELCOMES.run_batch(now=timezone.now())

    assert is_marked(sandbox, installation)
    assert WelcomeTurn.objects.get().claim is None
    assert gets_it_now_and_never_again(installation)


def test_a_turn_is_not_finished_by_others_while_it_is_leased(
    installation, new_installation, process, settings
):
    settings.WELCOME_WAIT_SECONDS = 0
    process(installation, CLAIM, TURN).dies()

    other = new_installation().signed_in()

    assert other.balance() == 0
    lease_ends()
    GRANT_WELCOMES.run_batch(now=timezone.now())
    assert other.balance() == 10
    assert gets_it_now_and_never_again(installation)


def test_a_call_that_lost_its_turn_before_apple_was_told_waits_for_the_next(
    installation, new_installation, process
):
    waits = process(installation, CLAIM, "seen = None", TURN, r"input('here\n')",
                    "print(welcome.finish_turn(turn, device_token=token))")  # fmt: skip
    waits.reaches_its_input()
    lease_ends()
    assert new_installation().signed_in().answer["credits_remaining"] == 10

    waits.goes_on()

    assert "TurnLost" in waits.fails()
    assert gets_it_now_and_never_again(installation)


def test_a_turn_whose_token_apple_takes_no_more_goes_on_and_the_phone_keeps_its_welcome(
    installation, new_installation, sandbox, process
):
    retry = one_phone(sandbox, installation, installation.with_new_token())[1]
    process(installation, CLAIM, TURN, MARK).dies()
    sandbox.control("apple/device", device_token=installation.device_token, hardware="gone")
    sandbox.control("apple/device", device_token=installation.device_token, valid=False)
    lease_ends()

    assert new_installation().signed_in().answer["credits_remaining"] == 10
    assert retry.signed_in().answer["credits_remaining"] == 10
    assert retry.reinstalled().signed_in().answer["credits_remaining"] == 0


# --- Apple in trouble -----------------------------------------------------------------------------


def test_an_outage_between_the_two_calls_is_a_503_and_loses_nothing(installation, apple, refusal):
    apple.answers = [(200, "Failed to find bit state"), (503, "Service unavailable")]

    refused = installation.check()

    assert refusal(refused) == (503, "ERR_5004")
    assert not Device.objects.filter(device_id=installation.device_id).exists()
    assert WelcomeTurn.objects.get().claim is None
    apple.answers = [(200, "Failed to find bit state"), (200, "")]
    assert installation.check().json()["credits_remaining"] == 10


@pytest.mark.parametrize("answer", [None, (500, "Internal error"), (504, "Gateway timeout")])
def test_apple_may_have_set_the_bit_although_no_good_answer_came(installation, apple, answer):
    apple.answers = [(200, "Failed to find bit state"), answer]
    assert installation.check().status_code == 503

    marked = (200, '{"bit0": true, "bit1": false, "last_update_time": "2026-11"}')
    apple.answers = [marked, marked]

    assert installation.check().json()["credits_remaining"] == 10


def test_an_outage_does_not_let_one_phone_collect_welcomes_under_many_names(
    installation, new_installation, sandbox, process
):
    names = [installation, *(new_installation() for _ in range(3))]
    one_phone(sandbox, *names)
    for name in names:
        process(
            name,
            CLAIM,
            TURN,
            "import requests",
            f"requests.post('{sandbox.url}/control/apple/outage',"
            " json={'service': 'devicecheck', 'status': 503, 'times': 1})",
            MARK,
        ).fails()

    answers = [name.signed_in().answer for name in names]

    assert [answer["credits_remaining"] for answer in answers] == [10, 0, 0, 0]


def test_an_outage_that_hides_what_apple_did_gives_one_phone_one_welcome(
    installation, new_installation, sandbox, process
):
    names = one_phone(sandbox, installation, *(new_installation() for _ in range(3)))
    for name in names:
        # The answer is lost, whether or not Apple did it.
        process(name, CLAIM, TURN, MARK).dies() if name is names[0] else name.check()
        lease_ends()

    answers = [name.signed_in().answer for name in reversed(names)]

    assert sorted(answer["credits_remaining"] for answer in answers) == [0, 0, 0, 10]


def test_a_claim_that_a_parallel_call_left_behind_earns_nothing(installation, sandbox, process):
    twin = one_phone(sandbox, installation, installation.with_new_token())[1]
    process(installation, CLAIM, TURN, MARK).dies()
    twin.signed_in()
    WelcomeClaim.objects.filter(token_hash=welcome.hash_token(installation.device_token)).update(
        granted_at=None, user=None
    )

    under_another_name = installation.reinstalled().signed_in().answer

    assert twin.answer["credits_remaining"] == 10
    assert under_another_name["credits_remaining"] == 0
