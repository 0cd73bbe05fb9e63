"""Log events that operators search for, and their request id."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest

from generation.models import Job
from tests.helpers.job_driver import create_job
from tests.helpers.phone import Phone

REQUEST_ID = "the-order-0001"


@pytest.fixture
def logged(caplog):
    """Logged events so far: event name to the fields of its last occurrence."""
    caplog.set_level(logging.INFO)
    return lambda: {
        record.msg["event"]: record.msg for record in caplog.records if isinstance(record.msg, dict)
    }


def order(phone, **headers):
    body = {"model_id": "00000000-0000-4000-8000-000000000003", "prompt": "A red balloon"}
    return phone.post("generate-video", body, Idempotency_Key=str(uuid4()), **headers)


def test_what_workers_do_for_a_job_bears_its_orders_request_id(
    phone, instant_provider, life, logged
):
    assert order(phone, X_Request_ID=REQUEST_ID).status_code == 200
    job = Job.objects.get()

    life.run_until_done(job)

    seen = logged()
    for event in ["video_generation_started", "falai_job_submitted", "video_generation_completed"]:
        assert seen[event]["request_id"] == REQUEST_ID, event
        assert seen[event]["job_id"] == str(job.id)
    asked = [
        asked for asked in instant_provider.requests() if asked["path"].startswith("/fal/queue")
    ]
    assert {one["headers"].get("x-request-id") for one in asked} == {REQUEST_ID}


def test_what_fails_is_told_with_the_providers_name(phone, instant_provider, life, logged):
    instant_provider.provider(outcome="submit_429", times=1)
    job = create_job(phone)
    life.submit()
    instant_provider.provider(outcome="error", queue_seconds=0, run_seconds=0, webhooks=False)

    life.run_until_done(job)

    seen = logged()
    assert seen["provider_api_error"]["provider"] == "fal"
    assert seen["video_generation_failed"]["refunded"] == job.credits


def test_a_phones_calls_are_told(phone, logged):
    key = str(uuid4())
    phone.generate(key=key)
    phone.generate(key=key)
    phone.generate(settings={"duration": 12})
    Phone().sign_in()
    stranger = Phone()
    stranger.device_token = "bm9uZQ=="
    stranger.post("device-check", stranger.check_body)

    seen = logged()
    assert {"user_created", "device_check_success", "device_check_failed"} <= set(seen)
    assert seen["idempotent_replay"]["operation"] == "generate-video"
    assert seen["generate_video_insufficient_credits"]["required"] == 12
