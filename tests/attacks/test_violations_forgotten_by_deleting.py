"""What moderation refused counts for the Apple account, not for the account of the moment."""

from __future__ import annotations

from typing import Any

import pytest

from generation.models import BlockedTerm, Sanction, Violation
from generation.moderation.blocklist import blocklist
from tests.accounts.conftest import Person
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.sandbox_control import Sandbox

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bans_at_the_third(settings: Any) -> None:
    settings.MODERATION = ["blocklist"]
    settings.MODERATION_WARN_AFTER = 0
    settings.MODERATION_HOLD_AFTER = 2
    settings.MODERATION_BAN_AFTER = 3
    BlockedTerm.objects.create(text="bomb", category="weapons")
    blocklist.invalidate_cache()


def returns(person: Person) -> Phone:
    phone = Phone().sign_in()
    signed_in = phone.post("merge-guest-to-user", person.tokens())
    assert signed_in.status_code == 200, signed_in.content
    phone.session, phone.user_id = signed_in.json()["session"], signed_in.json()["user_id"]
    return phone


def offend(phone: Phone) -> str:
    step: str = assert_refused(phone.generate(prompt="A bomb"), 422, "ERR_4016")["step"]
    return step


def test_deleting_the_account_between_violations_ends_in_the_same_ban(sandbox: Sandbox) -> None:
    person = Person(sandbox)
    first = returns(person)
    assert offend(first) == "none"
    assert first.post("delete-account").status_code == 200
    second = returns(person)
    assert offend(second) == "hold"
    assert second.post("delete-account").status_code == 200

    third = returns(person)

    # The hold has come along; when it is over, the next violation bans.
    assert third.generate().status_code == 403
    Violation.objects.filter(step=Sanction.HOLD).update(held_until="2026-01-01T00:00:00Z")
    assert offend(third) == "ban"
    again = Phone().sign_in().post("merge-guest-to-user", person.tokens())
    assert_refused(again, 403, "ERR_4018")


def test_a_deleted_account_keeps_of_a_violation_that_it_was_and_not_what(sandbox: Sandbox) -> None:
    phone = returns(Person(sandbox))
    offend(phone)

    assert phone.post("delete-account").status_code == 200

    [violation] = Violation.objects.all()
    assert (violation.categories, violation.term_id) == ([], None)


def test_another_apple_account_has_none_of_them(sandbox: Sandbox) -> None:
    first = returns(Person(sandbox))
    assert offend(first) == "none"
    assert first.post("delete-account").status_code == 200

    assert offend(returns(Person(sandbox))) == "none"


def test_a_guest_whom_nobody_would_recognise_leaves_no_violation(sandbox: Sandbox) -> None:
    phone = Phone().sign_in()
    offend(phone)

    assert phone.post("delete-account").status_code == 200

    assert not Violation.objects.exists()
