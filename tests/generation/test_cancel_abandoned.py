"""Cancellation of abandoned submissions at their provider."""

from __future__ import annotations

import pytest

from generation.lifecycle import cancel
from generation.models import ProviderRequest
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import assert_refunded, create_job
from tests.helpers.provider_models import only_made_by

pytestmark = pytest.mark.usefixtures("short_deadlines")


def timed_out_job(phone, life, **body):
    """A job that timed out and was refunded."""
    job = create_job(phone, **body)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")
    return ProviderRequest.objects.get(job=job)


def asked(sandbox, provider="fal"):
    return [
        one for one in sandbox.requests(provider)
        if one["method"] in {"PUT", "DELETE"} or "/cancel" in one["path"]
    ]  # fmt: skip


@pytest.mark.parametrize("provider", ["fal", "runway", "replicate", "runpod", "modal"])
def test_after_the_refund_the_provider_is_asked_to_stop_once(phone, sandbox, life, provider):
    sandbox.provider(
        provider=provider, queue_seconds=0, run_seconds=600, webhooks=False, outcome="hang"
    )
    request = timed_out_job(phone, life, model_id=only_made_by(provider))
    assert asked(sandbox, provider) == []
    assert request.cancel_due_at == request.ended_at

    life.stop()
    life.advance(3600).stop()

    assert len(asked(sandbox, provider)) == 1
    request.refresh_from_db()
    assert (request.cancel_due_at, request.cancel_asked_at is not None) == (None, True)


def test_a_provider_that_cannot_be_asked_is_asked_again_and_at_last_left_alone(
    phone, instant_provider, life, settings
):
    instant_provider.provider(outcome="hang")
    request = timed_out_job(phone, life)
    ProviderRequest.objects.filter(id=request.id).update(cancel_url="http://127.0.0.1:9/cancel")

    moments = []
    while request.cancel_due_at:
        life.now = request.cancel_due_at
        life.stop()
        request.refresh_from_db()
        moments.append((life.now - request.ended_at).total_seconds())

    assert moments[:4] == pytest.approx([0, 60, 120, 240], abs=10)
    assert 3600 < moments[-1] < 3 * 3600
    assert len(moments) < 12
    assert request.cancel_asked_at is None


def test_a_submission_without_a_name_over_there_cannot_be_stopped(phone, instant_provider, life):
    instant_provider.provider(outcome="submit_500")

    assert timed_out_job(phone, life).cancel_due_at is None


def test_a_job_that_the_user_cancelled_is_not_stopped_again(phone, instant_provider, life):
    instant_provider.provider(queue_seconds=600)
    job = create_job(phone)
    life.submit()

    phone.post("cancel-video-job", {"job_id": str(job.id)})

    assert ProviderRequest.objects.get(job=job).cancel_due_at is None


def test_two_workers_ask_once(guest, instant_provider, life):
    instant_provider.provider(outcome="hang")
    request = timed_out_job(guest, life)

    life.advance(2)
    at_once(*[lambda: cancel.cancel_abandoned_due(now=life.now)] * 4)

    request.refresh_from_db()
    assert request.cancel_due_at is None
    mine = [one for one in asked(instant_provider) if request.provider_request_id in one["path"]]
    assert len(mine) == 1
