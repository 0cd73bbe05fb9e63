"""A pack that is spent and refunded leaves a debt: a new guest does not leave it behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.due_work import SYNC_PURCHASES
from billing.models import PendingReason
from billing.services import release_purchase
from credits import services as credit_services
from tests.billing.conftest import TEN, AppStore, debt_of, deliver_and_apply, purchase_of
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(sandbox: Sandbox) -> AppStore:
    return AppStore(sandbox)


def spend_and_have_refunded(store: AppStore, phone: Phone, customer: str) -> None:
    bought = store.buy(TEN, phone=phone, customer=customer)
    deliver_and_apply(bought)
    assert phone.generate(settings={"duration": 12}).status_code == 200
    deliver_and_apply(store.notify("REFUND", bought))
    assert debt_of(phone) > 0


def test_a_new_guest_for_each_pack_gets_one_for_nothing_and_no_more(
    store: AppStore, new_guest: Callable[[], Phone]
) -> None:
    spend_and_have_refunded(store, new_guest(), "somebody")

    for _ in range(3):
        guest = new_guest()
        bought = store.buy(TEN, phone=guest, customer="somebody")
        deliver_and_apply(bought)

        assert guest.balance() == 10  # the welcome of another phone
        assert purchase_of(bought).pending_reason == PendingReason.RELATED_DEBT


def test_another_customer_is_not_held(store: AppStore, new_guest: Callable[[], Phone]) -> None:
    spend_and_have_refunded(store, new_guest(), "somebody")
    stranger = new_guest()

    deliver_and_apply(store.buy(TEN, phone=stranger, customer="somebody else"))

    assert stranger.balance() == 20


def test_the_pack_arrives_once_the_debt_is_paid(
    store: AppStore, new_guest: Callable[[], Phone]
) -> None:
    owing, guest = new_guest(), new_guest()
    spend_and_have_refunded(store, owing, "somebody")
    deliver_and_apply(store.buy(TEN, phone=guest, customer="somebody"))
    credit_services.adjust(
        user_id=owing.user_id, change=debt_of(owing), reason="paid",
        acting_user_id=owing.user_id, now=timezone.now(),
    )  # fmt: skip

    SYNC_PURCHASES.run_batch(now=timezone.now() + timedelta(hours=2))

    assert guest.balance() == 20


def test_support_releases_it(store: AppStore, new_guest: Callable[[], Phone]) -> None:
    guest = new_guest()
    spend_and_have_refunded(store, new_guest(), "somebody")
    bought = store.buy(TEN, phone=guest, customer="somebody")
    deliver_and_apply(bought)

    release_purchase(purchase_id=purchase_of(bought).id, now=timezone.now())

    assert guest.balance() == 20
