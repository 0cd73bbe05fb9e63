"""Staff actions on jobs, webhook deliveries, purchases, notifications, routes and sessions."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts.models import Device, Session, User
from adminops.models import AdminAction, AuditLogEntry
from billing.due_work import APPLY_NOTIFICATIONS
from billing.models import Notification, Product
from credits.ledger_check import find_discrepancies
from generation.catalogue import cache
from generation.lifecycle import settle
from generation.models import GenerationModel, Job, JobStatus, ProviderRoute, Stage, WebhookDelivery
from tests.adminops.conftest import WHY, get_log_entry, submitted
from tests.billing.conftest import TEN, AppStore, deliver_and_apply, purchase_of, update_credits
from tests.helpers.model_ids import SORA
from tests.helpers.phone import assert_refused


def said(answer):
    return [str(message) for message in answer.context["messages"]]


def buttons(answer):
    return {button["title"] for button in answer.context["actions_detail"]}


@pytest.fixture
def running(phone):
    """A new, paid job."""
    return Job.objects.get(id=phone.generate().json()["job_id"])


@pytest.fixture
def delivered(running):
    submitted(running)
    assert settle.complete(running, settle.StoredMedia("a.mp4", "a.jpg"), now=timezone.now())
    running.refresh_from_db()
    return running


def test_delivered_job_is_refunded_once_and_keeps_its_video(support, phone, delivered):
    answer = support.act("generation_job_refund", delivered.id, reason=WHY)
    again = support.act("generation_job_refund", delivered.id, reason=WHY)

    assert said(answer) == ["Credits refunded: 4."]
    assert "refunded" in support.see("generation_job_changelist").content.decode()
    assert said(again) == ["This job is already refunded."]
    assert phone.balance() == 10
    status = phone.get("get-video-status", job_id=str(delivered.id)).json()
    assert (status["status"], status["refunded"]) == ("completed", True)
    assert status["video_url"]
    entry = phone.get("get-credit-history").json()["entries"][0]
    assert (entry["kind"], entry["change"]) == ("refund", 4)
    log_entry = get_log_entry(delivered.id)
    assert (log_entry.action, log_entry.before["refund"]) == (AdminAction.REFUND_JOB, None)
    assert log_entry.after["refund"] == entry["id"]
    assert find_discrepancies() == []


def test_running_job_is_failed_and_refunded(support, phone, running):
    page = support.see("generation_job_change", running.id)
    answer = support.act("generation_job_fail", running.id, reason=WHY)
    again = support.act("generation_job_fail", running.id, reason=WHY)

    assert buttons(page) == {"Fail", "Retry"}
    assert said(answer) == ["Job failed. Credits refunded: 4."]
    assert said(again) == ["This job has ended: it is failed."]
    running.refresh_from_db()
    assert (running.status, running.stage) == (JobStatus.FAILED, Stage.DONE)
    assert phone.balance() == 10
    assert get_log_entry(running.id).action == AdminAction.FAIL_JOB
    assert find_discrepancies() == []


def test_running_job_cannot_be_refunded_without_failing(support, phone, running):
    answer = support.act("generation_job_refund", running.id, reason=WHY)

    assert said(answer) == ["This job has not ended yet."]
    assert phone.balance() == 6


def test_retry_makes_a_waiting_job_due_now(support, running):
    later = timezone.now() + timezone.timedelta(hours=1)
    Job.objects.filter(id=running.id).update(due_at=later, tries=5)

    answer = support.act("generation_job_retry", running.id, reason=WHY)

    assert said(answer) == ["Retry started."]
    running.refresh_from_db()
    assert running.due_at <= timezone.now()
    assert running.tries == 0


def test_retry_leaves_a_claimed_job_to_its_worker(support, running):
    later = timezone.now() + timezone.timedelta(hours=1)
    Job.objects.filter(id=running.id).update(due_at=later, leased_until=later)

    answer = support.act("generation_job_retry", running.id, reason=WHY)

    assert said(answer) == ["A worker is processing this job."]
    running.refresh_from_db()
    assert running.due_at == later


def test_retry_of_a_failed_job_fetches_its_video(support, customer_history):
    answer = support.act("generation_job_retry", customer_history.job.id, reason=WHY)

    assert said(answer) == ["Retry started."]
    customer_history.job.refresh_from_db()
    assert (customer_history.job.status, customer_history.job.stage) == (
        JobStatus.FAILED,
        Stage.STORE,
    )


def test_delivery_is_processed_again(support, customer_history):
    WebhookDelivery.objects.update(processed_at=timezone.now(), outcome="failed: KeyError")

    answer = support.act(
        "generation_webhookdelivery_reprocess", customer_history.delivery.id, reason=WHY
    )

    assert said(answer) == ["Delivery queued."]
    assert WebhookDelivery.objects.get().processed_at is None
    assert get_log_entry(customer_history.delivery.id).before["outcome"] == "failed: KeyError"


# --- Purchases ------------------------------------------------------------------------------------


@pytest.fixture
def store(sandbox):
    return AppStore(sandbox)


def test_purchase_of_a_product_on_sale_again_is_synced(support, phone, store):
    products = Product.objects.filter(product_id=TEN)
    products.update(product_id="elsewhere")
    bought = store.buy(phone=phone)
    deliver_and_apply(store.notify("ONE_TIME_CHARGE", bought))
    Product.objects.filter(product_id="elsewhere").update(product_id=TEN)
    assert phone.balance() == 10

    answer = support.act("billing_purchase_reprocess", purchase_of(bought).id, reason=WHY)
    support.act("billing_purchase_reprocess", purchase_of(bought).id, reason=WHY)

    assert said(answer) == ["Reprocessed: no problem."]
    assert phone.balance() == 20
    records = AuditLogEntry.objects.filter(action=AdminAction.REPROCESS_PURCHASE).order_by("at")
    assert [log_entry.after["credits"] for log_entry in records] == [10, 10]


def test_notification_processed_again_changes_nothing_twice(support, phone, store):
    bought = store.buy(phone=phone)
    assert update_credits(phone, bought).status_code == 200
    notice = deliver_and_apply(store.notify("REFUND", bought))

    answer = support.act("billing_notification_reprocess", notice.id, reason=WHY)
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())

    assert said(answer) == ["Notification queued."]
    assert Notification.objects.get(id=notice.id).processed_at
    assert phone.balance() == 10
    assert find_discrepancies() == []


# --- Routes and sessions --------------------------------------------------------------------------


def test_route_is_disabled_and_enabled(support, phone):
    route = GenerationModel.objects.get(id=SORA).routes.get()

    off = support.act("generation_providerroute_disable", route.id, reason=WHY)
    cache.invalidate()
    assert_refused(phone.generate(), 404, "ERR_4002")
    on = support.act("generation_providerroute_enable", route.id, reason=WHY)
    cache.invalidate()

    assert "is disabled" in said(off)[0]
    assert buttons(on) == {"Disable"}
    assert phone.generate().status_code == 200
    before_and_after = [
        (log_entry.before["is_enabled"], log_entry.after["is_enabled"])
        for log_entry in AuditLogEntry.objects.filter(subject_id=route.id).order_by("at")
    ]
    assert before_and_after == [(True, False), (False, True)]


def test_editing_a_model_does_not_enable_its_routes(support):
    page = support.see("generation_generationmodel_change", SORA)

    assert "routes-0-is_enabled" not in page.content.decode()
    assert (
        support.submit(
            "generation_providerroute_change", ProviderRoute.objects.first().pk
        ).status_code
        == 403
    )


def test_sign_out_everywhere_ends_all_sessions(support, phone):
    answer = support.act("accounts_user_sign_out", phone.user_id, reason=WHY)

    assert said(answer) == ["Sessions ended: 1."]
    refreshed = phone.post("auth/refresh", {"refresh_token": phone.session["refresh_token"]})
    assert_refused(refreshed, 401, "ERR_4005")
    assert Session.objects.get(user_id=phone.user_id).revoked_reason == "support"
    assert get_log_entry(phone.user_id).before == {"open_sessions": 1}
    # A guest has nothing but the phone.
    assert phone.sign_in().user_id == get_log_entry(phone.user_id).subject_id


def test_signed_out_account_must_sign_in_again(support, phone):
    account = phone.user_id
    User.objects.filter(id=account).update(is_guest=False)

    support.act("accounts_user_sign_out", account, reason=WHY)

    assert not Device.objects.filter(user_id=account).exists()
    assert phone.sign_in().user_id != account
