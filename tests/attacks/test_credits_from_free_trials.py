"""An attacker subscribes without paying, spends the allowance and cancels."""

from __future__ import annotations

import pytest

from billing.models import Product
from tests.billing.conftest import (
    PREMIUM,
    TEN,
    AppStore,
    debt_of,
    deliver_and_apply,
    update_credits,
)
from tests.helpers.phone import assert_refused

INTRODUCTORY, PROMOTIONAL, OFFER_CODE, WIN_BACK = 1, 2, 3, 4


@pytest.fixture
def store(sandbox):
    return AppStore(sandbox)


def offer_fields(offer_type, discount_type="FREE_TRIAL", price=0):
    return {"offer_type": offer_type, "offer_discount_type": discount_type, "price": price}


def assert_nothing_can_be_bought_with(phone):
    """Beyond the welcome."""
    assert (phone.balance(), debt_of(phone)) == (10, 0)
    details = assert_refused(phone.generate(settings={"duration": 12}), 402, "ERR_4001")
    assert details["available"] == 10


@pytest.mark.parametrize("offer_type", [INTRODUCTORY, PROMOTIONAL, OFFER_CODE, WIN_BACK])
@pytest.mark.parametrize("teller", ["phone", "signed", "apple"])
def test_a_free_period_brings_no_allowance(phone, store, offer_type, teller):
    trial = store.subscribe(phone=phone, **offer_fields(offer_type))

    if teller == "apple":
        deliver_and_apply(trial)
    elif teller == "phone":
        assert update_credits(phone, trial).json()["credits_added"] == 0
    else:
        answer = phone.post("update-credits", {"signed_transaction": trial["signed_transaction"]})
        assert answer.json()["credits_added"] == 0

    assert_nothing_can_be_bought_with(phone)
    assert phone.get("subscription/status").json()["tier"] == "premium"


def test_a_trial_cancelled_and_refunded_in_any_way_brings_nothing(phone, store):
    trial = store.subscribe(phone=phone, **offer_fields(INTRODUCTORY))
    deliver_and_apply(trial)
    for happening in ("DID_CHANGE_RENEWAL_STATUS", "EXPIRED"):
        subtype = {"EXPIRED": "VOLUNTARY"}.get(happening, "AUTO_RENEW_DISABLED")
        deliver_and_apply(store.notify(happening, trial, subtype=subtype))
    deliver_and_apply(store.notify("REFUND", trial))
    deliver_and_apply(store.notify("REFUND_REVERSED", trial))

    assert_nothing_can_be_bought_with(phone)


def test_free_trials_of_one_apple_account_do_not_add_up_over_guests(store, phone, new_guest):
    trial = store.subscribe(phone=phone, customer="one", **offer_fields(INTRODUCTORY))
    deliver_and_apply(trial)

    again = new_guest()
    deliver_and_apply(store.subscribe(phone=again, customer="one", **offer_fields(OFFER_CODE)))

    assert_nothing_can_be_bought_with(phone)
    assert_nothing_can_be_bought_with(again)


@pytest.mark.parametrize("discount_type", ["FREE_TRIAL", "PAY_AS_YOU_GO", "PAY_UP_FRONT", None])
def test_a_price_of_nothing_is_free_however_the_offer_is_named(phone, store, discount_type):
    named = {"override": {"offerDiscountType": discount_type}}
    deliver_and_apply(store.subscribe(phone=phone, **offer_fields(INTRODUCTORY), **named))

    assert_nothing_can_be_bought_with(phone)


def test_a_trial_whose_price_is_not_told_is_free(phone, store):
    deliver_and_apply(
        store.subscribe(phone=phone, **offer_fields(INTRODUCTORY), override={"price": None})
    )

    assert_nothing_can_be_bought_with(phone)


def test_a_renewal_that_an_offer_code_paid_brings_no_allowance(phone, store):
    bought = store.subscribe(phone=phone, at="2026-01-01T00:00:00Z")
    deliver_and_apply(bought)
    assert phone.balance() == 70

    deliver_and_apply(store.notify("DID_RENEW", bought, **offer_fields(OFFER_CODE)))

    assert phone.balance() == 70


def test_an_upgrade_by_a_free_offer_brings_nothing_and_takes_back_what_it_cut_off(phone, store):
    Product.objects.create(
        product_id="com.rendio.plus.monthly",
        kind="subscription",
        name="Plus",
        credits=150,
        period="P1M",
    )
    paid = store.subscribe(phone=phone)
    deliver_and_apply(paid)
    for _ in range(5):
        assert phone.generate(settings={"duration": 12}).status_code == 200

    upgraded = store.notify(
        "OFFER_REDEEMED",
        paid,
        subtype="UPGRADE",
        product_id="com.rendio.plus.monthly",
        **offer_fields(PROMOTIONAL),
    )
    deliver_and_apply(upgraded)

    assert (phone.balance(), debt_of(phone)) == (0, 50), "Apple paid the month back"


def test_a_free_consumable_brings_nothing(phone, store):
    deliver_and_apply(
        store.buy(TEN, phone=phone, quantity=5, **offer_fields(OFFER_CODE, "ONE_TIME"))
    )
    deliver_and_apply(store.buy(TEN, phone=phone, price=0))

    assert_nothing_can_be_bought_with(phone)


def test_trial_credits_count_against_what_may_be_held_unpaid(phone, store, settings):
    settings.MAX_GRANTED_BALANCE = 12
    Product.objects.filter(product_id=PREMIUM).update(trial_credits=60)

    deliver_and_apply(store.subscribe(phone=phone, **offer_fields(INTRODUCTORY)))

    assert phone.balance() == 12
