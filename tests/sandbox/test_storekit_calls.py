"""Who is let in to the App Store Server API, and what it says when it cannot answer."""

import time

import jwt
import pytest
import requests
from appstoreserverlibrary.models.UpdateAppAccountTokenRequest import UpdateAppAccountTokenRequest

from tests.helpers.storekit import (
    BUNDLE_ID,
    PRODUCTION,
    SANDBOX,
    SIGNING_KEY,
    SUBSCRIPTION,
    refusal,
)


def token(*, key=SIGNING_KEY, algorithm="ES256", headers=None, **claims):
    """As Apple's library makes it; `None` leaves a claim out."""
    claims = {
        "iss": "an-issuer",
        "aud": "appstoreconnect-v1",
        "bid": BUNDLE_ID,
        "exp": int(time.time()) + 300,
    } | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": "KEY1234567"} | (headers or {}))


@pytest.fixture
def ask(app_store, sandbox):
    """Asks for a purchase that exists, with these credentials."""
    purchase = app_store.buy()["transaction_id"]

    def ask(authorization):
        headers = {"Authorization": authorization} if authorization else {}
        return sandbox.http.get(
            f"/apple/storekit/inApps/v1/transactions/{purchase}", headers=headers
        )

    return ask


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer abc",
        f"Basic {token()}",
        f"Bearer {token(key='x' * 32, algorithm='HS256')}",
        f"Bearer {token(headers={'kid': ''})}",
        f"Bearer {token(iss=None)}",
        f"Bearer {token(aud='appstoreconnect-v2')}",
        f"Bearer {token(bid='com.example.other')}",
        f"Bearer {token(exp=None)}",
        f"Bearer {token(exp=int(time.time()) - 1)}",
        f"Bearer {token(exp=int(time.time()) + 7200)}",
        f"Bearer {token(iat=int(time.time()) + 7200)}",
    ],
)
def test_a_call_without_the_apps_token_is_refused(ask, authorization):
    refused = ask(authorization)

    assert refused.status_code == 401
    assert not refused.headers["content-type"].startswith("application/json")
    assert ask(f"Bearer {token()}").status_code == 200
    assert ask(f"Bearer {token(iat=int(time.time()))}").status_code == 200


def test_production_answers_401_for_an_app_that_was_never_released(app_store, sandbox):
    tried = app_store.buy(environment=SANDBOX)["transaction_id"]

    sandbox.control("apple/app", released=False)
    in_production = refusal(app_store.client(PRODUCTION).get_transaction_info, tried)
    in_sandbox = app_store.fetch(tried, SANDBOX)
    sandbox.control("apple/app", released=True)

    assert in_production == (401, None)
    assert in_sandbox.transactionId == tried
    assert refusal(app_store.client(PRODUCTION).get_transaction_info, tried) == (404, 4040010)


@pytest.mark.parametrize(
    ("outage", "refused"),
    [
        ({}, (503, None)),
        ({"status": 500}, (500, None)),
        ({"error_code": 4290000}, (429, 4290000)),
        ({"error_code": 5000001}, (500, 5000001)),
        ({"error_code": 4040006}, (404, 4040006)),
    ],
)
def test_an_outage_affects_both_environments_until_it_ends(app_store, sandbox, outage, refused):
    purchase = app_store.buy()["transaction_id"]

    sandbox.control("apple/outage", service="storekit", times=2, **outage)

    assert refusal(app_store.client(PRODUCTION).get_transaction_info, purchase) == refused
    assert refusal(app_store.client(SANDBOX).get_transaction_info, purchase) == refused
    assert app_store.fetch(purchase).transactionId == purchase


def test_a_429_has_retry_after_in_milliseconds(ask, sandbox):
    sandbox.control("apple/outage", service="storekit", error_code=4290000, times=1)

    refused = ask(f"Bearer {token()}")

    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/json"
    assert time.time() * 1000 < int(refused.headers["retry-after"]) < (time.time() + 300) * 1000


def test_a_call_can_be_left_without_an_answer(ask, sandbox):
    sandbox.control("apple/outage", service="storekit", hang=True, times=1)

    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{sandbox.url}/apple/storekit/inApps/v1/transactions/1", timeout=0.3)

    assert ask(f"Bearer {token()}").status_code == 200


@pytest.mark.parametrize(
    "outage",
    [
        {"service": "storekit", "times": 0, "hang": True},
        {"service": "storekit", "status": 500, "error_code": 5000001},
        {"service": "auth", "error_code": 5000001},
        {"service": "storekit", "error_code": 404},
    ],
)
def test_a_contradictory_outage_is_refused(sandbox, outage):
    assert sandbox.http.post("/control/apple/outage", json=outage).status_code == 400


# --- Set App Account Token --------------------------------------------------------------------

OURS, THEIRS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def rename(app_store, transaction_id, account):
    request = UpdateAppAccountTokenRequest(account)
    return app_store.client().set_app_account_token(transaction_id, request)


def test_a_purchase_can_be_bound_to_another_account(app_store):
    purchase = app_store.buy(app_account_token=OURS)["transaction_id"]

    rename(app_store, purchase, THEIRS)

    assert app_store.fetch(purchase).appAccountToken == THEIRS


def test_binding_applies_to_all_periods_of_a_subscription(app_store):
    first = app_store.subscribe(app_account_token=OURS)["transaction_id"]
    second = app_store.notify("DID_RENEW", transaction_id=first)["transaction_id"]

    rename(app_store, first, THEIRS)
    third = app_store.notify("DID_RENEW", transaction_id=first)

    for transaction_id in (first, second, third["transaction_id"]):
        assert app_store.fetch(transaction_id).appAccountToken == THEIRS
    renewal = app_store.notification(third).data.signedRenewalInfo
    assert app_store.verifier().verify_and_decode_renewal_info(renewal).appAccountToken == THEIRS
    assert refusal(rename, app_store, second, OURS) == (400, 4000187)


@pytest.mark.parametrize(
    ("purchase", "account", "refused"),
    [
        ({}, "not-a-uuid", (400, 4000183)),
        ({}, OURS.replace("-", ""), (400, 4000183)),
        ({"in_app_ownership_type": "FAMILY_SHARED", "type": SUBSCRIPTION}, OURS, (400, 4000185)),
        ({"environment": SANDBOX}, OURS, (404, 4040005)),
    ],
)
def test_a_failed_binding_does_not_change_the_purchase(app_store, purchase, account, refused):
    told = app_store.buy(**purchase)

    assert refusal(rename, app_store, told["transaction_id"], account) == refused
    read = app_store.fetch(told["transaction_id"], purchase.get("environment", PRODUCTION))
    assert read.appAccountToken is None
