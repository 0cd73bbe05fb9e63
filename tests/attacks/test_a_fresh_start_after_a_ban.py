"""A ban stays with the phone: a reinstalled app or another name is no fresh start."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from accounts import services
from accounts.apple import device_check
from accounts.due_work import SET_BAN_BITS
from accounts.errors import AppleOutcomeUnknown
from accounts.models import BanBit, User, WelcomeTurn
from accounts.services import welcome
from credits import services as credit_services
from tests.accounts.conftest import Person
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.sandbox_control import Sandbox

pytestmark = pytest.mark.django_db


class Hardware:
    """One iPhone: Apple's tokens for it differ from call to call, its bits do not."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.name = sandbox, f"phone {uuid4()}"

    def renew_token(self, phone: Phone) -> None:
        phone.device_token = Phone().device_token
        self.sandbox.control(
            "apple/device", device_token=phone.device_token, hardware=self.name, valid=True
        )

    def install(self) -> Phone:
        """The app as after a reinstallation that leaves nothing behind."""
        phone = Phone()
        self.renew_token(phone)
        return phone

    def bits(self) -> tuple[bool, bool]:
        known = self.sandbox.control(
            "apple/device", device_token="sandbox-look", hardware=self.name, valid=True
        )
        return bool(known["bit0"]), bool(known["bit1"])


@pytest.fixture
def hardware(sandbox: Sandbox) -> Hardware:
    return Hardware(sandbox)


@pytest.fixture
def banned(hardware: Hardware) -> Phone:
    """Its user was banned, and a worker has been by."""
    phone = hardware.install().sign_in()
    ban(phone)
    work()
    return phone


def ban(phone: Phone) -> None:
    services.ban_user(user_id=_id(phone), reason="fraud", acting_user_id=None, now=timezone.now())


def lift(phone: Phone) -> None:
    services.unban_user(
        user_id=_id(phone), reason="a mistake", acting_user_id=_id(phone), now=timezone.now()
    )


def _id(phone: Phone) -> Any:
    assert phone.user_id
    return phone.user_id


def work() -> None:
    SET_BAN_BITS.run_batch(now=timezone.now())


def buy_credits(phone: Phone) -> None:
    credit_services.grant(
        user_id=_id(phone),
        amount=100,
        source=credit_services.Source.PURCHASE,
        reason="purchase",
        transaction_id=uuid4().hex,
        now=timezone.now(),
    )


def test_after_a_reinstallation_a_guest_is_let_in_and_orders_nothing(
    banned: Phone, hardware: Hardware
) -> None:
    again = hardware.install().sign_in()
    buy_credits(again)

    assert again.user_id != banned.user_id
    assert_refused(again.generate(), 403, "ERR_4018")
    assert again.balance() == 100
    assert_refused(banned.post("device-check", banned.check_body), 403, "ERR_4018")


def test_such_a_guest_becomes_no_account_and_no_part_of_one(
    banned: Phone, hardware: Hardware, sandbox: Sandbox
) -> None:
    again, elsewhere = hardware.install().sign_in(), Phone().sign_in()
    person, other = Person(sandbox), Person(sandbox)
    assert elsewhere.post("merge-guest-to-user", person.tokens()).status_code == 200

    for somebody in (person, other):
        refused = again.post("merge-guest-to-user", somebody.tokens())
        assert_refused(refused, 403, "ERR_4018")

    assert User.objects.get(id=again.user_id).is_guest


def test_deleting_that_guest_is_no_fresh_start_either(banned: Phone, hardware: Hardware) -> None:
    again = hardware.install().sign_in()
    assert again.post("delete-account").status_code == 200

    third = hardware.install().sign_in()
    buy_credits(third)

    assert_refused(third.generate(), 403, "ERR_4018")


def test_a_ban_without_a_token_reaches_the_phone_at_its_next_check(
    hardware: Hardware, settings: Any
) -> None:
    settings.DEVICE_TOKEN_HOURS = 0
    phone = hardware.install().sign_in()
    ban(phone)
    work()
    assert hardware.bits() == (True, False)

    hardware.renew_token(phone)
    assert_refused(phone.post("device-check", phone.check_body), 403, "ERR_4018")
    work()

    assert hardware.bits() == (True, True)


def test_the_guest_that_a_phone_gets_at_its_next_check_is_banned_at_once(
    hardware: Hardware, sandbox: Sandbox, settings: Any
) -> None:
    settings.DEVICE_TOKEN_HOURS = 0
    person, left, other = Person(sandbox), hardware.install(), Phone()
    for phone in (left, other):
        answer = phone.sign_in().post("merge-guest-to-user", person.tokens())
        phone.session, phone.user_id = answer.json()["session"], answer.json()["user_id"]
    refresh_token = left.session["refresh_token"]
    assert left.post("auth/logout", {"refresh_token": refresh_token}).status_code == 200
    ban(other)

    guest = left.sign_in()
    buy_credits(guest)

    assert_refused(guest.generate(), 403, "ERR_4018")
    assert_refused(guest.post("merge-guest-to-user", Person(sandbox).tokens()), 403, "ERR_4018")


def test_a_token_that_apple_refuses_is_replaced_by_the_next_check(
    hardware: Hardware, sandbox: Sandbox
) -> None:
    phone = hardware.install().sign_in()
    sandbox.control("apple/device", device_token=phone.device_token, hardware="no more")
    sandbox.control("apple/device", device_token=phone.device_token, valid=False)
    ban(phone)
    work()
    assert hardware.bits() == (True, False)

    hardware.renew_token(phone)
    assert_refused(phone.post("device-check", phone.check_body), 403, "ERR_4018")
    work()

    assert hardware.bits() == (True, True)


def test_a_ban_during_an_outage_at_apple_reaches_the_phone_after_it(
    hardware: Hardware, sandbox: Sandbox
) -> None:
    phone = hardware.install().sign_in()
    ban(phone)
    sandbox.control("apple/outage", service="devicecheck", times=1)
    work()
    assert hardware.bits() == (True, False)

    SET_BAN_BITS.run_batch(now=timezone.now() + timedelta(minutes=2))

    assert hardware.bits() == (True, True)


def test_a_phone_that_was_signed_out_of_is_banned_too_unless_it_is_anothers(
    sandbox: Sandbox,
) -> None:
    left, passed_on, current = (Hardware(sandbox) for _ in range(3))
    person = Person(sandbox)
    phones = [hardware.install().sign_in() for hardware in (left, passed_on, current)]
    for phone in phones:
        answer = phone.post("merge-guest-to-user", person.tokens())
        phone.session, phone.user_id = answer.json()["session"], answer.json()["user_id"]
    for phone in phones[:2]:
        refresh_token = phone.session["refresh_token"]
        assert phone.post("auth/logout", {"refresh_token": refresh_token}).status_code == 200
    stranger = phones[1].sign_in()

    ban(phones[2])
    work()

    assert [hardware.bits()[1] for hardware in (left, passed_on, current)] == [True, False, True]
    assert stranger.get("get-user-profile").status_code == 200


def test_an_account_in_good_standing_is_refused_on_a_banned_phone_and_nowhere_else(
    hardware: Hardware, sandbox: Sandbox
) -> None:
    mine = hardware.install().sign_in()
    answer = mine.post("merge-guest-to-user", Person(sandbox).tokens())
    mine.session = answer.json()["session"]
    offender = hardware.install().sign_in()
    ban(offender)
    work()

    hardware.renew_token(mine)
    assert_refused(mine.post("device-check", mine.check_body), 403, "ERR_4018")

    # On another phone it goes on.
    assert mine.generate(settings={"duration": 4}).status_code == 200
    lift(mine)
    hardware.renew_token(mine)
    assert mine.post("device-check", mine.check_body).status_code == 200
    work()
    assert hardware.bits() == (True, False)


# --- In the same instant as a first welcome -------------------------------------------------------


class Check:
    """A first check of the phone under another name, step by step (accounts.services.welcome)."""

    def __init__(self, hardware: Hardware) -> None:
        self.phone = hardware.install()
        token, now = self.phone.device_token, timezone.now()
        self.seen, self.bits = welcome.find_free_turn(), device_check.query_bits(token)
        self.claim = welcome.open_claim(
            device_id=UUID(self.phone.device_id), device_token=token, had_welcome=False, now=now
        )

    def take_turn(self) -> bool:
        assert self.claim
        self.turn = welcome.take_turn(
            self.claim, device_token=self.phone.device_token, bits=self.bits, seen=self.seen
        )
        return self.turn is not None

    def finish(self) -> None:
        assert self.turn
        welcome.finish_turn(self.turn, device_token=self.phone.device_token)


@pytest.fixture
def suspect(hardware: Hardware, sandbox: Sandbox) -> Phone:
    """About to be banned, on a phone whose bits are clear, as it had its welcome elsewhere."""
    phone = hardware.install().sign_in()
    sandbox.control("apple/device", device_token=phone.device_token, bit0=False)
    assert hardware.bits() == (False, False)
    return phone


def test_a_ban_is_not_erased_by_a_welcome_that_is_on_its_way(
    suspect: Phone, hardware: Hardware, settings: Any
) -> None:
    settings.WELCOME_WAIT_SECONDS = 0
    check = Check(hardware)
    assert check.take_turn()
    ban(suspect)
    work()

    check.finish()

    SET_BAN_BITS.run_batch(now=timezone.now() + timedelta(minutes=2))
    assert hardware.bits() == (True, True)
    assert not BanBit.objects.filter(wanted__isnull=False).exists()


def test_a_ban_is_not_erased_by_a_welcome_that_had_read_the_bits_before(
    suspect: Phone, hardware: Hardware
) -> None:
    check = Check(hardware)
    ban(suspect)
    work()

    assert check.take_turn()
    check.finish()

    assert hardware.bits() == (True, True)


def test_a_ban_that_was_lifted_is_not_brought_back_by_a_welcome(
    suspect: Phone, hardware: Hardware, sandbox: Sandbox
) -> None:
    ban(suspect)
    work()
    sandbox.control("apple/device", device_token=suspect.device_token, bit0=False)
    check = Check(hardware)
    lift(suspect)
    work()

    assert check.take_turn()
    check.finish()

    assert hardware.bits() == (True, False)


def test_a_welcome_waits_while_a_ban_is_written_and_not_for_a_worker_that_died(
    hardware: Hardware,
) -> None:
    check = Check(hardware)
    with suppress(AppleOutcomeUnknown), welcome.reserve_bits():
        assert not check.take_turn()
        raise AppleOutcomeUnknown

    assert not check.take_turn()
    assert welcome.find_free_turn() is None
    WelcomeTurn.objects.update(leased_until=timezone.now())
    assert check.take_turn()
    check.finish()
    assert hardware.bits() == (True, False)


# --- Support lifts it -----------------------------------------------------------------------------


def test_lifting_the_ban_clears_the_phone(banned: Phone, hardware: Hardware) -> None:
    lift(banned)
    work()

    assert hardware.bits() == (True, False)
    assert banned.sign_in().generate(settings={"duration": 4}).status_code == 200
    assert hardware.install().sign_in().balance() == 0


def test_lifting_it_from_the_guest_after_a_reinstallation_clears_the_phone(
    banned: Phone, hardware: Hardware, settings: Any
) -> None:
    settings.DEVICE_TOKEN_HOURS = 0
    again = hardware.install().sign_in()
    buy_credits(again)

    lift(again)

    assert again.generate().status_code == 200
    hardware.renew_token(again)
    again.sign_in()
    assert again.generate().status_code == 200
    work()
    assert hardware.bits() == (True, False)


def test_a_guest_whose_phone_was_cleared_meanwhile_may_order(
    banned: Phone, hardware: Hardware
) -> None:
    again = hardware.install().sign_in()
    buy_credits(again)
    lift(banned)
    work()

    hardware.renew_token(again)
    again.sign_in()

    assert again.generate().status_code == 200


def test_tokens_are_kept_for_a_ban_as_long_as_set(hardware: Hardware, settings: Any) -> None:
    settings.DEVICE_TOKEN_HOURS = 2
    phone = hardware.install().sign_in()
    kept = BanBit.objects.get(device_id=phone.device_id)
    assert phone.device_token not in kept.device_token_encrypted

    services.purge_device_tokens(now=kept.received_at + timedelta(hours=2))
    assert BanBit.objects.filter(device_id=phone.device_id).exists()
    services.purge_device_tokens(now=kept.received_at + timedelta(hours=2, seconds=1))

    assert not BanBit.objects.filter(device_id=phone.device_id).exists()


def test_a_deleted_account_leaves_no_token(hardware: Hardware) -> None:
    phone = hardware.install().sign_in()
    assert phone.post("delete-account").status_code == 200

    assert not BanBit.objects.exclude(device_token_encrypted="").exists()


def test_a_lifted_ban_of_a_deleted_account_lifts_no_other_phones_ban(
    hardware: Hardware, sandbox: Sandbox, settings: Any
) -> None:
    settings.DEVICE_TOKEN_HOURS = 0
    person, unused, other = Person(sandbox), Phone(), Phone()
    for phone in (unused, other):
        answer = phone.sign_in().post("merge-guest-to-user", person.tokens())
        phone.session, phone.user_id = answer.json()["session"], answer.json()["user_id"]
    ban(other)
    lift(other)
    assert other.sign_in().post("delete-account").status_code == 200
    banned = hardware.install().sign_in()
    ban(banned)
    hardware.renew_token(banned)
    assert_refused(banned.post("device-check", banned.check_body), 403, "ERR_4018")
    work()
    assert hardware.bits() == (True, True)

    again = Phone()
    again.device_id = unused.device_id
    hardware.renew_token(again)
    again.sign_in()
    buy_credits(again)

    assert_refused(again.generate(), 403, "ERR_4018")
    work()
    assert hardware.bits() == (True, True)
