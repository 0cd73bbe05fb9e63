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
def consumption_answers(sandbox):
    """The consumption answers that Apple has received, oldest first."""

    def ask():
        answer = requests.get(f"{sandbox.url}/control/apple/consumption", timeout=30)
        return [one["told"] for one in answer.json()["consumption"]]

    return ask


@pytest.fixture
def consenting(phone):
    """A phone whose user has agreed that Apple hears what was used."""
    agree(phone)
    return phone


def agree(phone, *, granted=True):
    answer = phone.post(
        "record-consent", {"kind": "consumption", "version": "1", "granted": granted}
    )
    assert answer.status_code == 200, answer.content


def request_consumption(store, purchase, **fields):
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", purchase, **fields))
    return ConsumptionRequest.objects.get(purchase=purchase_of(purchase))


def answer(after=HOUR):
    ANSWER_CONSUMPTION.run_batch(now=timezone.now() + after)
    return ConsumptionRequest.objects.get()


def spend(phone, seconds):
    """A job for as many credits."""
    answer = phone.generate(settings={"duration": seconds})
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["job_id"])


def test_the_used_share_is_sent(consenting, store, consumption_answers):
    purchase = store.buy(FIFTY, phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 12)
    spend(consenting, 8)  # 20 credits: the 10 of the welcome, then 10 of 50

    request_consumption(store, purchase, consumption_request_reason="UNINTENDED_PURCHASE")
    request = answer()

    assert consumption_answers() == [
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


def test_an_unused_purchase_prefers_a_full_refund(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)

    request_consumption(store, purchase)
    answer()

    [said] = consumption_answers()
    assert (said["consumptionPercentage"], said["refundPreference"]) == (0, "GRANT_FULL")


def test_a_used_up_purchase_prefers_no_refund(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 12)
    spend(consenting, 8)

    request_consumption(store, purchase)
    answer()

    [said] = consumption_answers()
    assert (said["consumptionPercentage"], said["refundPreference"]) == (100_000, "DECLINE")


def test_a_purchase_whose_jobs_all_failed_was_not_delivered(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 12)
    for job in [spend(consenting, 8), Job.objects.earliest("id")]:
        settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now(), detail="It broke")

    request_consumption(store, purchase)
    answer()

    [said] = consumption_answers()
    assert said["deliveryStatus"] == "UNDELIVERED_OTHER"
    assert (said["consumptionPercentage"], said["refundPreference"]) == (0, "GRANT_FULL")


def test_a_purchase_whose_jobs_partly_failed_was_delivered(consenting, store, consumption_answers):
    purchase = store.buy(FIFTY, phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 12)
    settle.fail(
        spend(consenting, 8), FailureReason.PROVIDER_ERROR, now=timezone.now(), detail="It broke"
    )

    request_consumption(store, purchase)
    answer()

    [said] = consumption_answers()
    assert (said["deliveryStatus"], said["consumptionPercentage"]) == ("DELIVERED", 4_000)


def test_a_merge_keeps_the_used_share(consenting, store, consumption_answers, sandbox):
    sub = sign_in(Phone().sign_in(), sandbox)
    purchase = store.buy(FIFTY, phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 12)
    sign_in(consenting, sandbox, sub=sub)

    request_consumption(store, purchase)
    answer()

    [said] = consumption_answers()
    assert (said["deliveryStatus"], said["consumptionPercentage"]) == ("DELIVERED", 4_000)


def test_a_merge_keeps_failed_jobs(consenting, store, consumption_answers, sandbox):
    sub = sign_in(Phone().sign_in(), sandbox)
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 8)
    settle.fail(
        spend(consenting, 12), FailureReason.PROVIDER_ERROR, now=timezone.now(), detail="It broke"
    )
    sign_in(consenting, sandbox, sub=sub)

    request_consumption(store, purchase)
    answer()

    assert [said["deliveryStatus"] for said in consumption_answers()] == ["UNDELIVERED_OTHER"]


@pytest.mark.parametrize(
    ("policy", "preference"), [("none", None), ("decline", "DECLINE"), ("grant", "GRANT_FULL")]
)
def test_refund_policy_follows_the_setting(
    consenting, store, consumption_answers, settings, policy, preference
):
    settings.CONSUMPTION_POLICY = policy
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)

    request_consumption(store, purchase)
    answer()

    assert [said.get("refundPreference") for said in consumption_answers()] == [preference]


def test_no_share_is_sent_for_a_subscription(consenting, store, consumption_answers):
    purchase = store.subscribe(phone=consenting)
    deliver_and_apply(purchase)
    spend(consenting, 12)

    request_consumption(store, purchase)
    answer()

    [said] = consumption_answers()
    assert "consumptionPercentage" not in said
    assert "refundPreference" not in said
    assert said["deliveryStatus"] == "DELIVERED"


# --- Nothing is said ------------------------------------------------------------------------------


def test_nothing_is_sent_without_consent(phone, store, consumption_answers):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)

    request_consumption(store, purchase)
    request = answer()

    assert consumption_answers() == []
    assert "not consented" in request.outcome
    assert (request.due_at, request.answered_at) == (None, None)


def test_nothing_is_sent_after_consent_was_withdrawn(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)

    agree(consenting, granted=False)
    answer()

    assert consumption_answers() == []


def test_nothing_is_sent_about_a_deleted_account(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    consenting.post("delete-account")

    request_consumption(store, purchase)
    answer()

    assert consumption_answers() == []


def test_nothing_is_sent_about_a_purchase_without_owner(db, store, consumption_answers):
    request_consumption(store, store.buy(TEN))

    assert "no owner" in answer().outcome
    assert consumption_answers() == []


def test_nothing_is_sent_about_a_family_shared_purchase(consenting, store, consumption_answers):
    shared = store.subscribe(phone=consenting, in_app_ownership_type="FAMILY_SHARED")
    deliver_and_apply(shared)

    request_consumption(store, shared)

    assert "family" in answer().outcome
    assert consumption_answers() == []


# --- In time --------------------------------------------------------------------------------------


def test_answer_is_delayed_until_jobs_have_ended(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)

    answer(after=59 * HOUR / 60)
    assert consumption_answers() == []
    answer(after=61 * HOUR / 60)

    assert len(consumption_answers()) == 1


def test_answer_is_retried_until_apple_accepts(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)
    store.set_outage(times=1)

    assert answer(after=2 * HOUR).answered_at is None
    answer(after=3 * HOUR)

    assert len(consumption_answers()) == 1


def test_nothing_is_sent_after_apples_deadline(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)

    request = answer(after=12 * HOUR)

    assert consumption_answers() == []
    assert request.outcome.startswith("too late")


def test_answer_is_retried_after_apple_refuses_the_key(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)
    store.set_outage(status=401, times=1)

    assert answer().due_at
    answer(after=3 * HOUR)

    assert len(consumption_answers()) == 1


def test_a_rejected_answer_is_not_retried(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)
    store.set_outage(status=400, times=1)

    assert answer().outcome.startswith("refused: 400")
    answer(after=3 * HOUR)

    assert consumption_answers() == []


def test_each_notification_is_answered_once(consenting, store, consumption_answers):
    purchase = store.buy(FIFTY, phone=consenting)
    deliver_and_apply(purchase)
    request = store.notify("CONSUMPTION_REQUEST", purchase)
    deliver_and_apply(request)
    answer()
    deliver(request)
    answer(after=2 * HOUR)
    assert len(consumption_answers()) == 1

    spend(consenting, 12)
    later = (timezone.now() + 8 * HOUR).isoformat()
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", purchase, at=later))
    answer(after=10 * HOUR)

    assert [said["consumptionPercentage"] for said in consumption_answers()] == [0, 4_000]


def test_an_older_consumption_request_changes_nothing(consenting, store, consumption_answers):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    old = store.notify("CONSUMPTION_REQUEST", purchase, at=(timezone.now() - 8 * HOUR).isoformat())
    newest = request_consumption(store, purchase)

    deliver_and_apply(old)

    assert ConsumptionRequest.objects.get().requested_at == newest.requested_at


def test_an_export_contains_answers_to_apple(consenting, store):
    purchase = store.buy(TEN, phone=consenting)
    deliver_and_apply(purchase)
    request_consumption(store, purchase)
    answer()

    [held] = consenting.get("export-user-data").json()["refund_requests"]

    assert held["transaction_id"] == purchase["transaction_id"]
    assert held["answer"]["delivery"] == "DELIVERED"
