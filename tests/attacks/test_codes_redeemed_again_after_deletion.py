"""One Apple account redeems a promotion code as often as its terms say, however often it leaves."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from credits import services as credit_services
from credits.models import PromotionCode
from tests.accounts.conftest import Person
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.sandbox_control import Sandbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def code() -> PromotionCode:
    terms = credit_services.CodeTerms(credits=50)
    return credit_services.create_code(code="ATTACK", terms=terms, now=timezone.now())


def returns(sandbox: Sandbox, person: Person, *, hardware: str) -> Phone:
    """The app as after a reinstallation, signed in with the same Apple account."""
    phone = Phone()
    sandbox.control("apple/device", device_token=phone.device_token, hardware=hardware, valid=True)
    signed_in = phone.sign_in().post("merge-guest-to-user", person.tokens())
    assert signed_in.status_code == 200
    phone.session, phone.user_id = signed_in.json()["session"], signed_in.json()["user_id"]
    return phone


def test_deleting_the_account_and_signing_in_again_redeems_nothing(
    sandbox: Sandbox, code: PromotionCode
) -> None:
    person, hardware = Person(sandbox), f"phone {uuid4()}"
    first = returns(sandbox, person, hardware=hardware)
    assert first.post("redeem-code", {"code": code.code}).status_code == 200

    for _ in range(2):
        assert first.post("delete-account").status_code == 200
        first = returns(sandbox, person, hardware=hardware)
        details = assert_refused(first.post("redeem-code", {"code": code.code}), 409, "ERR_4019")
        assert details["problem"] == "already_redeemed"

    other = returns(sandbox, Person(sandbox), hardware=f"phone {uuid4()}")
    assert other.post("redeem-code", {"code": code.code}).status_code == 200
