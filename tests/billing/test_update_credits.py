"""The update-credits endpoint: grants and refusals."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from accounts import services as account_services
from accounts.models import User
from billing.models import Purchase
from tests.billing.conftest import (
    FIFTY,
    PREMIUM,
    TEN,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    update_credits,
)
from tests.helpers.phone import Phone, assert_refused


def test_a_purchase_grants_its_credits(phone, store):
    purchase = store.buy(TEN, phone=phone)

    answer = update_credits(phone, purchase)

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "credits_added": 10,
        "credits_remaining": 20,
        "already_processed": False,
    }
    assert phone.balance() == 20


def test_a_repeated_purchase_grants_nothing_more(phone, store):
    purchase = store.buy(FIFTY, phone=phone)
    update_credits(phone, purchase)

    again = update_credits(phone, purchase)

    assert again.status_code == 200
    assert again.json() == {
        "success": True,
        "credits_added": 50,
        "credits_remaining": 60,
        "already_processed": True,
    }


def test_a_signed_transaction_needs_no_call_to_apple(phone, store):
    purchase = store.buy(TEN, phone=phone)
    store.set_outage(status=503)

    answer = phone.post("update-credits", {"signed_transaction": purchase["signed_transaction"]})

    assert answer.json()["credits_added"] == 10
    assert store.requests_to("/inApps/") == []


def test_each_piece_of_a_pack_grants_its_credits(phone, store):
    purchase = store.buy(TEN, phone=phone, quantity=3)

    assert update_credits(phone, purchase).json()["credits_added"] == 30


def test_the_account_token_may_be_in_upper_case(phone, store):
    purchase = store.buy(TEN, app_account_token=str(phone.user_id).upper())

    assert update_credits(phone, purchase).json()["credits_added"] == 10


def test_a_purchase_without_a_token_belongs_to_the_first_phone(phone, store):
    purchase = store.buy(TEN)
    update_credits(phone, purchase)

    assert_refused(update_credits(Phone().sign_in(), purchase), 409, "ERR_4014")
    assert phone.balance() == 20


def test_a_subscription_grants_its_allowance(phone, store):
    purchase = store.buy(PREMIUM, phone=phone, type="Auto-Renewable Subscription")

    assert update_credits(phone, purchase).json()["credits_added"] == 60


def test_a_purchase_in_apples_sandbox_counts_and_is_marked(phone, store):
    purchase = store.buy(TEN, phone=phone, environment="Sandbox")

    assert update_credits(phone, purchase).json()["credits_added"] == 10
    assert purchase_of(purchase).environment == "Sandbox"
    assert not Purchase.objects.revenue().exists()


def test_sandbox_purchase_is_found_while_production_answers_401(phone, store):
    store.sandbox.control("apple/app", released=False)
    purchase = store.buy(TEN, phone=phone, environment="Sandbox")

    assert update_credits(phone, purchase).json()["credits_added"] == 10


def test_apples_price_is_stored(phone, store):
    purchase = store.buy(TEN, phone=phone, storefront="TUR", price=34_990, currency="TRY")

    update_credits(phone, purchase)

    row = purchase_of(purchase)
    assert (row.storefront, row.price_milliunits, row.currency) == (
        "TUR",
        34_990,
        "TRY",
    )


# --- Refusals -----------------------------------------------------------------------------------


def test_another_users_token_is_refused_and_its_owner_gets_the_credits(phone, store):
    other = Phone().sign_in()
    purchase = store.buy(TEN, phone=other)

    assert_refused(update_credits(phone, purchase), 409, "ERR_4014")
    assert (phone.balance(), other.balance()) == (10, 20)


def test_a_token_of_no_user_is_refused(phone, store):
    purchase = store.buy(TEN, app_account_token=str(uuid4()))

    assert_refused(update_credits(phone, purchase), 409, "ERR_4014")
    assert purchase_of(purchase).pending_reason == "nobody"


def test_a_transaction_that_apple_does_not_know_is_refused(phone, store):
    answer = phone.post("update-credits", {"transaction_id": "2000000999999999"})

    assert_refused(answer, 400, "ERR_4013")


def test_a_product_that_is_not_sold_here_is_refused(phone, store):
    purchase = store.buy("com.rendio.credits.1000000", phone=phone)

    assert_refused(update_credits(phone, purchase), 400, "ERR_4015")
    assert purchase_of(purchase).pending_reason == "product"


def test_a_product_bought_as_something_else_is_refused(phone, store):
    purchase = store.buy(TEN, phone=phone, type="Non-Consumable")

    assert_refused(update_credits(phone, purchase), 400, "ERR_4015")


def test_a_refunded_purchase_is_refused(phone, store):
    purchase = store.buy(TEN, phone=phone)
    store.notify("REFUND", purchase)

    assert_refused(update_credits(phone, purchase), 400, "ERR_4013")
    assert phone.balance() == 10


def test_a_purchase_refunded_after_its_grant_is_refused(phone, store):
    purchase = store.buy(TEN, phone=phone)
    update_credits(phone, purchase)
    deliver_and_apply(store.notify("REFUND", purchase))

    assert_refused(update_credits(phone, purchase), 400, "ERR_4013")
    assert phone.balance() == 10


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "ERR_4008"),
        ({"transaction_id": ""}, "ERR_4008"),
        ({"transaction_id": None}, "ERR_4008"),
        ({"transaction_id": ["1"]}, "ERR_4008"),
        ({"transaction_id": "1" * 51}, "ERR_4008"),
        ({"transaction_id": "../../v1/notifications/test"}, "ERR_4013"),
        ({"transaction_id": "1?x=1"}, "ERR_4013"),
        ({"signed_transaction": ""}, "ERR_4008"),
        ({"signed_transaction": "x" * 32_769}, "ERR_4008"),
        ({"signed_transaction": "not.a.jws"}, "ERR_4013"),
    ],
)
def test_an_invalid_body_is_refused(phone, store, body, code):
    assert_refused(phone.post("update-credits", body), 400, code)
    assert store.requests_to("/inApps/") == []


def test_an_id_other_than_the_signed_one_is_refused(phone, store):
    purchase = store.buy(TEN, phone=phone)
    body = {"transaction_id": "1", "signed_transaction": purchase["signed_transaction"]}

    assert_refused(phone.post("update-credits", body), 400, "ERR_4008")
    assert phone.balance() == 10


# --- Idempotency key and limits -------------------------------------------------------------------


def test_a_key_replays_the_first_answer(phone, store):
    purchase, key = store.buy(TEN, phone=phone), str(uuid4())
    first = update_credits(phone, purchase, Idempotency_Key=key)

    again = update_credits(phone, purchase, Idempotency_Key=key)

    assert again.headers["X-Idempotent-Replay"] == "true"
    assert again.json() == first.json()
    assert again.json()["already_processed"] is False


def test_a_key_for_another_purchase_is_refused(phone, store):
    key = str(uuid4())
    update_credits(phone, store.buy(TEN, phone=phone), Idempotency_Key=key)

    another = update_credits(phone, store.buy(TEN, phone=phone), Idempotency_Key=key)

    assert_refused(another, 422, "ERR_4010")
    assert phone.balance() == 20


def test_an_invalid_idempotency_key_is_refused(phone, store):
    answer = update_credits(phone, store.buy(TEN, phone=phone), Idempotency_Key="tuesday")

    assert_refused(answer, 400, "ERR_4009")


def test_a_refusal_is_not_stored_under_its_key(phone, store):
    purchase, key = store.buy(TEN, phone=phone), str(uuid4())
    store.set_outage(status=503, times=1)
    assert_refused(update_credits(phone, purchase, Idempotency_Key=key), 503, "ERR_5005")

    assert update_credits(phone, purchase, Idempotency_Key=key).json()["credits_added"] == 10


def test_purchases_are_limited_for_each_user(phone, store, settings):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"purchases_per_user": (1, 3600)}
    purchase = store.buy(TEN, phone=phone)
    first = update_credits(phone, purchase)
    assert first.headers["X-RateLimit-Limit"] == "1"

    assert_refused(update_credits(phone, purchase), 429, "ERR_4004")
    assert update_credits(Phone().sign_in(), purchase).status_code == 409


def test_a_banned_users_purchase_waits_in_the_wallet(phone, store):
    staff = User.objects.create_user("sam", password="x", is_staff=True)
    purchase = store.buy(TEN, phone=phone)
    account_services.ban_user(
        user_id=phone.user_id, reason="test", acting_user_id=staff.id, now=timezone.now()
    )

    deliver_and_apply(purchase)

    assert purchase_of(purchase).credits == 10
    assert ledger_is_balanced()


def test_a_call_without_an_access_token_is_unauthorized(db, sandbox):
    assert_refused(Phone().post("update-credits", {"transaction_id": "1"}), 401, "ERR_4005")
    assert_refused(Phone().get("get-products"), 401, "ERR_4005")


def test_products_on_sale_are_listed(phone):
    products = phone.get("get-products").json()["products"]

    assert [(one["product_id"], one["kind"], one["credits"]) for one in products] == [
        (TEN, "consumable", 10),
        (FIFTY, "consumable", 50),
        ("com.rendio.credits.100", "consumable", 100),
        (PREMIUM, "subscription", 60),
    ]
    assert products[-1]["period"] == "P1M"


def test_one_id_in_both_of_apples_environments_is_two_purchases(phone, store):
    paid = store.buy(TEN, phone=phone)
    tried = store.buy(
        FIFTY,
        phone=phone,
        environment="Sandbox",
        override={"transactionId": paid["transaction_id"]},
    )

    for purchase in (paid, tried):
        phone.post("update-credits", {"signed_transaction": purchase["signed_transaction"]})

    assert phone.balance() == 10 + 10 + 50
