"""Apple's consumption requests are answered with facts, in time, and only with consent."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from django.utils import timezone

from billing.due_work import ANSWER_CONSUMPTION
from billing.models import ConsumptionRequest
from generation.lifecycle import settle
from generation.models import Job
from generation.providers.base import FailureReason
from tests.billing.conftest import FIFTY, TEN, deliver, deliver_and_apply, purchase_of, sign_in
from tests.helpers.phone import Phone

HOUR = timedelta(hours=1)


@pytest.fixture
def told(sandbox):
    """What Apple was told, oldest first."""

    def ask():
        answer = requests.get(f"{sandbox.url}/control/apple/consumption", timeout=30)
        return [one["told"] for one in answer.json()["consumption"]]

    return ask


@pytest.fixture
def agreed(phone):
    """A phone whose user has agreed that Apple hears what was used."""
    agree(phone)
    return phone


def agree(phone, *, granted=True):
    answer = phone.post(
        "record-consent", {"kind": "consumption", "version": "1", "granted": granted}
    )
    assert answer.status_code == 200, answer.content


def asked(store, bought, **fields):
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", bought, **fields))
    return ConsumptionRequest.objects.get(purchase=purchase_of(bought))


def answer(after=HOUR):
    ANSWER_CONSUMPTION.run_batch(now=timezone.now() + after)
    return ConsumptionRequest.objects.get()


def spend(phone, seconds):
    """A job for as many credits."""
    answer = phone.generate(settings={"duration": seconds})
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["job_id"])


def test_the_used_share_is_sent(agreed, store, told):
    bought = store.buy(FIFTY, phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 12)
    spend(agreed, 8)  # 20 credits: the 10 of the welcome, then 10 of 50

    asked(store, bought, consumption_request_reason="UNINTENDED_PURCHASE")
    request = answer()

    assert told() == [
        {
            "customerConsented": True,
            "sampleContentProvided": True,
            "deliveryStatus": "DELIVERED",
            "consumptionPercentage": 20_000,
            "refundPreference": "GRANT_PRORATED",
        }
    ]
    assert (request.reason, request.outcome) == ("UNINTENDED_PURCHASE", "answered")
    assert request.answered_at
    assert request.due_at is None


def test_an_unused_purchase_prefers_a_full_refund(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)

    asked(store, bought)
    answer()

    [said] = told()
    assert (said["consumptionPercentage"], said["refundPreference"]) == (0, "GRANT_FULL")


def test_a_used_up_purchase_prefers_no_refund(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 12)
    spend(agreed, 8)

    asked(store, bought)
    answer()

    [said] = told()
    assert (said["consumptionPercentage"], said["refundPreference"]) == (100_000, "DECLINE")


def test_a_purchase_whose_jobs_all_failed_was_not_delivered(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 12)
    for job in [spend(agreed, 8), Job.objects.earliest("id")]:
        settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now(), detail="It broke")

    asked(store, bought)
    answer()

    [said] = told()
    assert said["deliveryStatus"] == "UNDELIVERED_OTHER"
    assert (said["consumptionPercentage"], said["refundPreference"]) == (0, "GRANT_FULL")


def test_a_purchase_whose_jobs_partly_failed_was_delivered(agreed, store, told):
    bought = store.buy(FIFTY, phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 12)
    settle.fail(
        spend(agreed, 8), FailureReason.PROVIDER_ERROR, now=timezone.now(), detail="It broke"
    )

    asked(store, bought)
    answer()

    [said] = told()
    assert (said["deliveryStatus"], said["consumptionPercentage"]) == ("DELIVERED", 4_000)


def test_a_merge_keeps_the_used_share(agreed, store, told, sandbox):
    sub = sign_in(Phone().sign_in(), sandbox)
    bought = store.buy(FIFTY, phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 12)
    sign_in(agreed, sandbox, sub=sub)

    asked(store, bought)
    answer()

    [said] = told()
    assert (said["deliveryStatus"], said["consumptionPercentage"]) == ("DELIVERED", 4_000)


def test_a_merge_keeps_failed_jobs(agreed, store, told, sandbox):
    sub = sign_in(Phone().sign_in(), sandbox)
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 8)
    settle.fail(
        spend(agreed, 12), FailureReason.PROVIDER_ERROR, now=timezone.now(), detail="It broke"
    )
    sign_in(agreed, sandbox, sub=sub)

    asked(store, bought)
    answer()

    assert [said["deliveryStatus"] for said in told()] == ["UNDELIVERED_OTHER"]


@pytest.mark.parametrize(
    ("policy", "preference"), [("none", None), ("decline", "DECLINE"), ("grant", "GRANT_FULL")]
)
def test_the_policy_is_a_setting(agreed, store, told, settings, policy, preference):
    settings.CONSUMPTION_POLICY = policy
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)

    asked(store, bought)
    answer()

    assert [said.get("refundPreference") for said in told()] == [preference]


def test_no_share_is_sent_for_a_subscription(agreed, store, told):
    bought = store.subscribe(phone=agreed)
    deliver_and_apply(bought)
    spend(agreed, 12)

    asked(store, bought)
    answer()

    [said] = told()
    assert "consumptionPercentage" not in said
    assert "refundPreference" not in said
    assert said["deliveryStatus"] == "DELIVERED"


# --- Nothing is said ------------------------------------------------------------------------------


def test_nothing_is_sent_without_consent(phone, store, told):
    bought = store.buy(TEN, phone=phone)
    deliver_and_apply(bought)

    asked(store, bought)
    request = answer()

    assert told() == []
    assert "not consented" in request.outcome
    assert (request.due_at, request.answered_at) == (None, None)


def test_nothing_is_sent_after_consent_was_withdrawn(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)

    agree(agreed, granted=False)
    answer()

    assert told() == []


def test_nothing_is_sent_about_a_deleted_account(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    agreed.post("delete-account")

    asked(store, bought)
    answer()

    assert told() == []


def test_nothing_is_sent_about_a_purchase_without_owner(db, store, told):
    asked(store, store.buy(TEN))

    assert "no owner" in answer().outcome
    assert told() == []


def test_nothing_is_sent_about_a_family_shared_purchase(agreed, store, told):
    shared = store.subscribe(phone=agreed, in_app_ownership_type="FAMILY_SHARED")
    deliver_and_apply(shared)

    asked(store, shared)

    assert "family" in answer().outcome
    assert told() == []


# --- In time --------------------------------------------------------------------------------------


def test_it_is_answered_after_a_while_so_that_jobs_have_ended(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)

    answer(after=59 * HOUR / 60)
    assert told() == []
    answer(after=61 * HOUR / 60)

    assert len(told()) == 1


def test_it_is_tried_until_apple_hears_it(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)
    store.set_outage(times=1)

    assert answer(after=2 * HOUR).answered_at is None
    answer(after=3 * HOUR)

    assert len(told()) == 1


def test_nothing_is_sent_after_apples_deadline(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)

    request = answer(after=12 * HOUR)

    assert told() == []
    assert request.outcome.startswith("too late")


def test_a_key_that_apple_refuses_costs_no_answer(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)
    store.set_outage(status=401, times=1)

    assert answer().due_at
    answer(after=3 * HOUR)

    assert len(told()) == 1


def test_a_rejected_answer_is_not_retried(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)
    store.set_outage(status=400, times=1)

    assert answer().outcome.startswith("refused: 400")
    answer(after=3 * HOUR)

    assert told() == []


def test_one_notification_is_answered_once_and_the_next_again(agreed, store, told):
    bought = store.buy(FIFTY, phone=agreed)
    deliver_and_apply(bought)
    request = store.notify("CONSUMPTION_REQUEST", bought)
    deliver_and_apply(request)
    answer()
    deliver(request)
    answer(after=2 * HOUR)
    assert len(told()) == 1

    spend(agreed, 12)
    later = (timezone.now() + 8 * HOUR).isoformat()
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", bought, at=later))
    answer(after=10 * HOUR)

    assert [said["consumptionPercentage"] for said in told()] == [0, 4_000]


def test_an_older_consumption_request_changes_nothing(agreed, store, told):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    old = store.notify("CONSUMPTION_REQUEST", bought, at=(timezone.now() - 8 * HOUR).isoformat())
    newest = asked(store, bought)

    deliver_and_apply(old)

    assert ConsumptionRequest.objects.get().requested_at == newest.requested_at


def test_an_export_contains_answers_to_apple(agreed, store):
    bought = store.buy(TEN, phone=agreed)
    deliver_and_apply(bought)
    asked(store, bought)
    answer()

    [held] = agreed.get("export-user-data").json()["refund_requests"]

    assert held["transaction_id"] == bought["transaction_id"]
    assert held["answer"]["delivery"] == "DELIVERED"
