"""Apple's own client tells of a disputed purchase, and Apple's rules are kept."""

import pytest
from appstoreserverlibrary.models.ConsumptionRequest import ConsumptionRequest
from appstoreserverlibrary.models.ConsumptionRequestReason import ConsumptionRequestReason
from appstoreserverlibrary.models.DeliveryStatus import DeliveryStatus
from appstoreserverlibrary.models.RefundPreference import RefundPreference

from tests.helpers.storekit import SANDBOX, SUBSCRIPTION

FACTS = {
    "customerConsented": True,
    "sampleContentProvided": True,
    "deliveryStatus": "DELIVERED",
    "consumptionPercentage": 40_000,
    "refundPreference": "GRANT_PRORATED",
}


def told(sandbox):
    return sandbox.http.get("/control/apple/consumption").json()["consumption"]


@pytest.fixture
def send_consumption(app_store):
    """Sends facts as they are; `None` leaves one out."""

    def send(transaction_id, **facts):
        body = {name: value for name, value in (FACTS | facts).items() if value is not None}
        client = app_store.client()
        answer = app_store.sandbox.http.put(
            f"/apple/storekit/inApps/v2/transactions/consumption/{transaction_id}",
            json=body,
            headers=client._get_headers(),
        )
        return answer.status_code, answer.json()["errorCode"] if answer.content else None

    return send


def test_consumption_information_is_recorded(app_store, sandbox):
    purchase = app_store.buy(environment=SANDBOX)["transaction_id"]
    request = app_store.notify(
        "CONSUMPTION_REQUEST",
        transaction_id=purchase,
        consumption_request_reason="UNINTENDED_PURCHASE",
    )

    app_store.client(SANDBOX).send_consumption_information(
        purchase,
        ConsumptionRequest(
            customerConsented=True,
            sampleContentProvided=True,
            deliveryStatus=DeliveryStatus.DELIVERED,
            consumptionPercentage=40_000,
            refundPreference=RefundPreference.GRANT_PRORATED,
        ),
    )

    (one,) = told(sandbox)
    assert (one["transaction_id"], one["environment"], one["told"]) == (purchase, "Sandbox", FACTS)
    asked = app_store.notification(request, environment=SANDBOX).data
    assert asked.consumptionRequestReason is ConsumptionRequestReason.UNINTENDED_PURCHASE
    assert app_store.fetch(purchase, SANDBOX).revocationDate is None


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"customerConsented": False}, 4000035),
        ({"customerConsented": None}, 4000035),
        ({"sampleContentProvided": None}, 4000041),
        ({"deliveryStatus": None}, 4000036),
        ({"deliveryStatus": "LOST"}, 4000036),
        ({"refundPreference": "GRANT_SOME"}, 4000000),
        ({"consumptionPercentage": 100_001}, 4000000),
        ({"consumptionPercentage": -1}, 4000000),
        ({"consumptionPercentage": 0.4}, 4000000),
        ({"consumptionPercentage": 0}, 4000000),
        ({"consumptionPercentage": 100_000}, 4000000),
        ({"consumptionPercentage": None}, 4000000),
        ({"deliveryStatus": "UNDELIVERED_OTHER", "refundPreference": "GRANT_FULL"}, 4000000),
    ],
)
def test_invalid_consumption_information_is_refused_and_not_recorded(
    app_store, sandbox, send_consumption, facts, code
):
    purchase = app_store.buy()["transaction_id"]

    assert send_consumption(purchase, **facts) == (400, code)
    assert told(sandbox) == []
    assert send_consumption(purchase) == (202, None)


@pytest.mark.parametrize(
    "facts",
    [
        {"consumptionPercentage": None, "refundPreference": None},
        {"consumptionPercentage": 100_000, "refundPreference": "DECLINE"},
        {
            "deliveryStatus": "UNDELIVERED_SERVER_OUTAGE",
            "consumptionPercentage": 0,
            "refundPreference": "GRANT_FULL",
        },
    ],
)
def test_valid_consumption_information_is_accepted(app_store, send_consumption, facts):
    assert send_consumption(app_store.buy()["transaction_id"], **facts) == (202, None)


def test_a_used_share_of_a_subscription_is_refused(app_store, send_consumption):
    subscribed = app_store.subscribe()["transaction_id"]

    assert send_consumption(subscribed) == (400, 4000000)
    assert send_consumption(subscribed, consumptionPercentage=None) == (202, None)


def test_consumption_of_a_shared_or_unknown_purchase_is_refused(app_store, send_consumption):
    shared = app_store.buy(type=SUBSCRIPTION, in_app_ownership_type="FAMILY_SHARED")

    assert send_consumption(shared["transaction_id"]) == (400, 4000185)
    assert send_consumption("12345") == (404, 4040010)
