"""One iPhone gets its welcome once, by whatever calls at the same time.

Apple sends another device token with each call, so that nothing but Apple's bit tells that two
tokens are one phone, and Apple has no compare-and-set for it.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.due_work import GRANT_WELCOMES
from accounts.models import WelcomeClaim
from tests.accounts.conftest import Installation, installation, one_phone, process
from tests.accounts.test_welcome_crashes import CLAIM, MARK, TURN
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import wait_for

__all__ = ["installation", "process"]  # fixtures

pytestmark = pytest.mark.usefixtures("committed")


def installations_of_one_phone(sandbox: Sandbox, count: int) -> list[Phone]:
    """Each with a device_id and a device token of its own."""
    hardware, phones = f"phone {uuid4()}", [Phone() for _ in range(count)]
    for phone in phones:
        sandbox.control("apple/device", device_token=phone.device_token, hardware=hardware)
    return phones


def workers_give_what_waits() -> None:
    """Until no claim is due any more."""

    def nothing_waits() -> bool:
        GRANT_WELCOMES.run_batch(now=timezone.now())
        return not WelcomeClaim.objects.filter(due_at__isnull=False, granted_at=None).exists()

    wait_for(nothing_waits)


def credits_of(phones: list[Phone]) -> list[int]:
    return [phone.balance() for phone in phones]


@pytest.mark.parametrize("latency", [0, 0.05])
def test_eight_checks_of_one_phone_at_once_bring_ten_credits_in_all(
    sandbox: Sandbox, latency: float
) -> None:
    sandbox.control("apple/device", latency=latency)
    phones = installations_of_one_phone(sandbox, 8)

    at_once(*(phone.sign_in for phone in phones))
    workers_give_what_waits()

    assert sorted(credits_of(phones)) == [0] * 7 + [10]


@pytest.mark.parametrize("latency", [0, 0.05])
def test_eight_phones_at_once_get_their_welcome_each(sandbox: Sandbox, latency: float) -> None:
    sandbox.control("apple/device", latency=latency)
    phones = [Phone() for _ in range(8)]

    at_once(*(phone.sign_in for phone in phones))
    workers_give_what_waits()

    assert credits_of(phones) == [10] * 8


def test_phones_that_check_in_many_times_among_others_get_one_welcome_each(
    sandbox: Sandbox,
) -> None:
    phones = [installations_of_one_phone(sandbox, 4) for _ in range(4)]

    at_once(*(installation.sign_in for phone in phones for installation in phone))
    workers_give_what_waits()

    assert [sum(credits_of(phone)) for phone in phones] == [10] * 4


def test_of_many_that_wait_for_a_worker_one_gets_the_welcome_of_their_phone(
    sandbox: Sandbox, settings: Any
) -> None:
    settings.WELCOME_WAITERS = 0
    sandbox.control("apple/device", latency=0.05)
    phones = installations_of_one_phone(sandbox, 8)
    strangers = [Phone() for _ in range(4)]
    at_once(*(phone.sign_in for phone in [*phones, *strangers]))

    at_once(*[workers_give_what_waits] * 4)

    assert sorted(credits_of(phones)) == [0] * 7 + [10]
    assert credits_of(strangers) == [10] * 4


# --- An installation that sends the tokens of two phones ------------------------------------------


def used_phone(sandbox: Sandbox, name: Installation) -> Installation:
    """The same installation with the token of another phone, which has had its welcome."""
    used = name.with_new_token()
    sandbox.control("apple/device", device_token=used.device_token, bit0=True, bit1=False)
    return used


def test_a_used_phone_does_not_win_the_welcome_of_another_whose_update_is_in_doubt(
    installation: Installation, sandbox: Sandbox, process: Any
) -> None:
    _, twin = one_phone(sandbox, installation, Installation())
    process(installation, CLAIM, TURN).dies()  # Apple was not told

    used = used_phone(sandbox, installation).signed_in()

    assert [used.balance(), twin.signed_in().balance()] == [10, 0]


def test_nor_where_the_update_begins_while_the_used_phone_is_asked_about(
    installation: Installation, sandbox: Sandbox, process: Any
) -> None:
    _, twin = one_phone(sandbox, installation, Installation())
    used = used_phone(sandbox, installation)
    process(installation, CLAIM, "seen = None", TURN).dies()
    unused_before = CLAIM.replace("bits.bit0", "False")
    reads = process(used, unused_before, "seen = None", TURN, r"input('here\n')",
                    "welcome.finish_turn(turn, device_token=token)")  # fmt: skip
    reads.reaches_its_input()
    process(installation, CLAIM, "seen = None", TURN,
            "welcome._reread_bits(turn, device_token=token)").dies()  # fmt: skip
    reads.goes_on()
    reads.dies()

    assert [used.signed_in().balance(), twin.signed_in().balance()] == [10, 0]


def test_a_new_token_counts_where_apple_no_longer_accepts_the_one_of_the_update(
    installation: Installation, sandbox: Sandbox, process: Any
) -> None:
    _, retry, twin = one_phone(sandbox, installation, installation.with_new_token(), Installation())
    process(installation, CLAIM, TURN, MARK).dies()
    sandbox.control("apple/device", device_token=installation.device_token, hardware="gone")
    sandbox.control("apple/device", device_token=installation.device_token, valid=False)

    assert [retry.signed_in().balance(), twin.signed_in().balance()] == [10, 0]
