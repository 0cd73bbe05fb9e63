"""Offers: the credits of a trial or a discounted period, and the data that is stored."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing.due_work import ANSWER_CONSUMPTION
from billing.models import ConsumptionRequest, Product
from credits import flows
from credits.models import LedgerEntry, Lot, Source
from tests.billing.conftest import (
    PREMIUM,
    TEN,
    debt_of,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    update_credits,
)

PLUS = "com.rendio.plus.monthly"
TRIAL = {"offer_type": 1, "offer_discount_type": "FREE_TRIAL", "offer_identifier": "spring"}


@pytest.fixture
def trials(db):
    """A trial of Premium brings 15 credits, and a free pack of ten brings 2."""
    Product.objects.filter(product_id=PREMIUM).update(trial_credits=15)
    Product.objects.filter(product_id=TEN).update(trial_credits=2)


@pytest.fixture
def plus(db):
    return Product.objects.create(
        product_id=PLUS, kind="subscription", name="Plus", credits=150, period="P1M"
    )


def try_it(store, phone, **fields):
    return store.subscribe(phone=phone, **{"price": 0, "renewal_price": 9_990} | TRIAL | fields)


@pytest.mark.usefixtures("trials")
def test_a_trial_grants_its_products_credits_and_the_tier(phone, store):
    purchase = try_it(store, phone)

    answer = update_credits(phone, purchase)

    assert answer.json()["credits_added"] == 15
    assert phone.balance() == 25
    assert phone.get("subscription/status").json()["status"] == "active"
    assert phone.get("get-credit-history").json()["entries"][0]["reason"] == "free trial"
    assert ledger_is_balanced()


@pytest.mark.usefixtures("trials")
def test_the_offer_is_stored_on_the_purchase_and_exported(phone, store):
    purchase = try_it(store, phone)
    deliver_and_apply(purchase)

    row = purchase_of(purchase)
    offer = (row.offer_type, row.offer_discount_type, row.offer_identifier)
    assert (offer, row.price_milliunits) == ((1, "FREE_TRIAL", "spring"), 0)
    [exported] = phone.get("export-user-data").json()["purchases"]
    assert (exported["offer_type"], exported["price_milliunits"]) == (1, 0)


def test_an_unknown_kind_of_offer_is_stored(phone, store):
    odd = {"offerType": 9, "offerDiscountType": "PAY_LATER"}
    purchase = store.subscribe(phone=phone, price=4_990, override=odd)
    deliver_and_apply(purchase)

    row = purchase_of(purchase)
    assert (row.offer_type, row.offer_discount_type) == (9, "PAY_LATER")
    assert phone.balance() == 70


@pytest.mark.usefixtures("trials")
@pytest.mark.parametrize("discount_type", ["PAY_AS_YOU_GO", "PAY_UP_FRONT"])
def test_a_discounted_period_grants_the_allowance(phone, store, discount_type):
    deliver_and_apply(try_it(store, phone, price=1_990, offer_discount_type=discount_type))

    assert phone.balance() == 70


@pytest.mark.usefixtures("trials")
def test_the_paid_period_after_a_trial_grants_the_allowance(phone, store):
    purchase = try_it(store, phone, at=(timezone.now() - timedelta(days=31)).isoformat())
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("DID_RENEW", purchase))

    assert phone.balance() == 10 + 15 + 60


@pytest.mark.usefixtures("trials")
def test_a_free_pack_grants_trial_credits_for_each_piece(phone, store):
    free = {"offer_type": 3, "offer_discount_type": "ONE_TIME", "price": 0}
    deliver_and_apply(store.buy(TEN, phone=phone, quantity=3, **free))

    assert phone.balance() == 16
    assert Lot.objects.get(amount=6).source == Source.PROMOTION


@pytest.mark.usefixtures("trials")
def test_a_family_shared_trial_gives_only_the_tier(phone, store):
    deliver_and_apply(try_it(store, phone, in_app_ownership_type="FAMILY_SHARED"))

    assert phone.balance() == 10
    assert phone.get("subscription/status").json()["tier"] == "premium"


@pytest.mark.usefixtures("trials", "plus")
def test_an_upgrade_from_a_trial_claws_back_nothing(phone, store):
    """Apple pays nothing back for a trial, so the paid period brings all of its credits."""
    purchase = try_it(store, phone)
    deliver_and_apply(purchase)
    assert phone.generate(settings={"duration": 12}).status_code == 200
    assert phone.generate(settings={"duration": 12}).status_code == 200

    deliver_and_apply(
        store.notify(
            "DID_CHANGE_RENEWAL_PREF", purchase, subtype="UPGRADE", product_id=PLUS, price=19_990
        )
    )

    assert (phone.balance(), debt_of(phone)) == (1 + 150, 0)
    assert ledger_is_balanced()


@pytest.mark.usefixtures("trials")
def test_a_refunded_trial_is_clawed_back_and_a_reversal_restores_it(phone, store):
    purchase = try_it(store, phone)
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("REFUND", purchase))
    assert phone.balance() == 10
    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))

    assert phone.balance() == 25
    assert ledger_is_balanced()


@pytest.mark.usefixtures("trials")
def test_trial_credits_expire_with_the_trial_if_the_product_says_so(phone, store):
    Product.objects.filter(product_id=PREMIUM).update(rollover="lapse")

    purchase = try_it(store, phone)
    deliver_and_apply(purchase)

    assert Lot.objects.get(amount=15).expires_at == purchase_of(purchase).expires_at


def test_no_consumption_is_sent_for_a_free_purchase(phone, store):
    assert phone.post("record-consent", {"kind": "consumption", "version": "1"}).status_code == 200
    purchase = try_it(store, phone)
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", purchase))

    ANSWER_CONSUMPTION.run_batch(now=timezone.now() + timedelta(hours=2))

    request = ConsumptionRequest.objects.get(purchase=purchase_of(purchase))
    assert request.outcome == "free of charge: nothing to refund"
    assert not store.requests_to("/consumption/")


@pytest.mark.usefixtures("trials")
def test_trial_credits_are_not_reported_as_sold(phone, store):
    deliver_and_apply(try_it(store, phone))

    entry = LedgerEntry.objects.get(reason="free trial")
    moved = flows.credit_flows(first=entry.id, before=UUID(int=entry.id.int + 1))
    assert moved == {flows.Flow.GRANTED: 15}


def test_products_list_their_trial_credits(phone):
    Product.objects.filter(product_id=PREMIUM).update(trial_credits=15)

    products = phone.get("get-products").json()["products"]

    assert [one["trial_credits"] for one in products] == [0, 0, 0, 15]


def test_trial_credits_cannot_exceed_those_of_a_paid_period(db):
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.filter(product_id=PREMIUM).update(trial_credits=61)
