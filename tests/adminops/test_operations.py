"""Staff actions on the service: circuit breakers, maintenance, dead letters."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from adminops.models import AdminAction
from generation.catalogue import cache
from generation.lifecycle import dead_letters
from generation.models import (
    MAINTENANCE_ID,
    Breaker,
    DeadKind,
    DeadLetter,
    DeadState,
    Job,
    ProviderHealth,
    Stage,
    WebhookDelivery,
)
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.helpers.phone import assert_refused


def said(answer):
    return [str(message) for message in answer.context["messages"]]


def buttons(answer):
    return {button["title"] for button in answer.context["actions_detail"]}


def test_reset_breaker_takes_jobs_at_once(root, phone):
    health = ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN, failures=10,
        open_until=timezone.now() + timedelta(seconds=600),
    )  # fmt: skip
    cache.invalidate()
    assert_refused(phone.generate(), 503, "ERR_5002")

    answer = root.act("generation_providerhealth_reset", health.id, reason=WHY)

    assert said(answer) == ["Circuit breaker closed."]
    assert buttons(answer) == set()
    cache.invalidate()
    assert phone.generate().status_code == 200
    log_entry = get_log_entry(health.id)
    assert (log_entry.action, log_entry.actor) == (AdminAction.RESET_PROVIDER, root.user)
    assert (log_entry.before["state"], log_entry.after["state"]) == ("open", "closed")


def test_maintenance_stops_and_resumes_orders(root, phone):
    stopped = root.act("generation_maintenance_stop_orders", MAINTENANCE_ID, reason=WHY)

    assert said(stopped) == ["New orders stopped."]
    assert buttons(stopped) == {"Resume orders"}
    cache.invalidate()
    assert_refused(phone.generate(), 503, "ERR_6004")
    log_entry = get_log_entry(MAINTENANCE_ID)
    assert (log_entry.before, log_entry.after) == ({"is_on": False}, {"is_on": True})

    root.act("generation_maintenance_resume_orders", MAINTENANCE_ID, reason=WHY)
    cache.invalidate()
    assert phone.generate().status_code == 200


@pytest.fixture
def letter(customer_history):
    """A dead letter of the delivery of an ended job."""
    WebhookDelivery.objects.filter(id=customer_history.delivery.id).update(
        processed_at=timezone.now(), outcome="failed: KeyError"
    )
    dead_letters.record(
        DeadKind.DELIVERY, str(customer_history.delivery.id), "failed: KeyError", now=timezone.now()
    )
    return DeadLetter.objects.get()


def test_dead_delivery_is_processed_again(root, letter):
    answer = root.act("generation_deadletter_retry", letter.id, reason=WHY)

    assert said(answer) == ["Retry started."]
    assert buttons(answer) == set()
    assert WebhookDelivery.objects.get(id=letter.subject).processed_at is None
    letter.refresh_from_db()
    assert letter.state == DeadState.RETRIED
    assert get_log_entry(letter.id).action == AdminAction.RETRY_DEAD_LETTER


def test_dead_letter_is_dismissed(root, letter):
    root.act("generation_deadletter_dismiss", letter.id, reason=WHY)

    letter.refresh_from_db()
    assert letter.state == DeadState.DISMISSED
    assert WebhookDelivery.objects.get(id=letter.subject).processed_at
    assert get_log_entry(letter.id).reason == WHY


def test_closed_dead_letter_is_not_retried(root, letter):
    root.act("generation_deadletter_dismiss", letter.id, reason=WHY)

    answer = root.act("generation_deadletter_retry", letter.id, reason=WHY)

    assert said(answer) == ["This dead letter is already dismissed."]
    assert WebhookDelivery.objects.get(id=letter.subject).processed_at


def test_retry_fetches_the_video_of_a_refunded_job(root, customer_history):
    dead_letters.record(DeadKind.JOB, str(customer_history.job.id), "It broke", now=timezone.now())

    root.act("generation_deadletter_retry", DeadLetter.objects.get().id, reason=WHY)

    job = Job.objects.get(id=customer_history.job.id)
    assert (job.status, job.stage) == ("failed", Stage.STORE)
    assert customer_history.phone.balance() == 10


def test_retry_of_a_job_without_submission_fetches_nothing(root, customer_history):
    customer_history.request.delete()
    dead_letters.record(DeadKind.JOB, str(customer_history.job.id), "It broke", now=timezone.now())
    letter = DeadLetter.objects.get()

    answer = root.act("generation_deadletter_retry", letter.id, reason=WHY)

    assert said(answer) == ["There is nothing to fetch for this job."]
    letter.refresh_from_db()
    assert letter.state == DeadState.OPEN


def test_viewer_cannot_perform_actions(letter):
    viewer = Staff(staff_user("vera", "generation.view_deadletter", "generation.view_maintenance"))

    assert buttons(viewer.see("generation_deadletter_change", letter.id)) == set()
    assert viewer.see("generation_deadletter_retry", letter.id).status_code == 403
    assert viewer.see("generation_maintenance_stop_orders", MAINTENANCE_ID).status_code == 403
