"""Webhooks: verification, stored deliveries, and their effects."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from credits import services as credit_services
from generation.lifecycle import settle, transitions
from generation.models import Job, ProviderRequest, RequestState, Stage, WebhookDelivery
from generation.providers.base import FailureReason
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import (
    JobDriver,
    assert_completed,
    assert_refunded,
    create_job,
    kinds_of,
    send_webhook,
    submissions,
)
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("short_deadlines")


@pytest.fixture
def running_job(phone, instant_provider, life):
    """A job that runs at the provider."""
    instant_provider.provider(run_seconds=600)
    job = create_job(phone)
    life.submit()
    job.refresh_from_db()
    assert job.stage == Stage.QUEUED
    return job


def request_of(job) -> ProviderRequest:
    return ProviderRequest.objects.get(job=job)


def test_a_genuine_call_moves_the_job_and_a_forged_one_does_not(running_job, signer, life):
    request = request_of(running_job)
    stranger = Ed25519PrivateKey.generate()
    name = (request.provider_request_id, request.webhook_token)

    refused = [
        signer.deliver(*name, key=stranger),
        signer.deliver(*name, user_id="somebody-else"),
        signer.deliver(*name, timestamp=int(time.time()) - 301),
        signer.deliver(*name, timestamp=int(time.time()) + 400),
        signer.deliver(*name, timestamp="soon"),
    ]
    assert refused == [401] * 5
    assert not WebhookDelivery.objects.exists()

    assert signer.deliver(*name) == 200
    life.deliver()
    running_job.refresh_from_db()
    assert running_job.stage == Stage.STORE


@pytest.mark.parametrize(
    "name", ["X-Fal-Webhook-Request-Id", "X-Fal-Webhook-User-Id", "X-Fal-Webhook-Timestamp",
             "X-Fal-Webhook-Signature"],
)  # fmt: skip
def test_every_signed_header_is_needed_and_covered(running_job, signer, name):
    request = request_of(running_job)
    body, headers = signer.delivery(request.provider_request_id)
    without = {key: value for key, value in headers.items() if key != name}
    changed = headers | {name: headers[name][:-1] + ("0" if headers[name][-1] != "0" else "1")}

    answers = [
        signer.send(body, without, request.webhook_token),
        signer.send(body, changed, request.webhook_token),
        signer.send(body + b" ", headers, request.webhook_token),
        signer.send(body, headers, request.webhook_token),
    ]

    assert answers == [401, 401, 401, 200]
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.parametrize("token", ["unknown", "", "%00%00", "x" * 3000, "%ff%fe", "%ed%a0%80"])
def test_what_is_genuine_but_unknown_is_kept(db, signer, life, token):
    assert signer.deliver("an-id-of-nobody", token) == 200

    life.advance(1).deliver()

    delivery = WebhookDelivery.objects.get()
    assert (delivery.provider_request_id, delivery.outcome) == ("an-id-of-nobody", "unknown")


@pytest.mark.parametrize("body", [b"\x00\xff not json", b"{}", b"[" * 10_000, b"null"])
def test_the_body_is_kept_and_not_believed(running_job, signer, life, body):
    request = request_of(running_job)

    assert signer.deliver(request.provider_request_id, request.webhook_token, body=body) == 200

    life.deliver()
    running_job.refresh_from_db()
    assert running_job.stage == Stage.STORE


def test_another_requests_id_with_this_jobs_token_changes_nothing(running_job, signer, life):
    request = request_of(running_job)

    assert signer.deliver("another-id", request.webhook_token) == 200
    life.deliver()

    running_job.refresh_from_db()
    assert running_job.stage == Stage.QUEUED
    assert request_of(running_job).provider_request_id == request.provider_request_id
    assert WebhookDelivery.objects.get().outcome == "another id"


def test_a_call_for_a_submission_that_was_refused_moves_nothing(
    phone, instant_provider, signer, life
):
    instant_provider.provider(outcome="submit_429", times=1)
    job = create_job(phone)
    life.submit()
    refused = request_of(job)
    assert refused.state == RequestState.DEFERRED

    assert signer.deliver("an-id", refused.webhook_token) == 200
    life.run_until_done(job)

    assert_completed(job)
    assert len(instant_provider.jobs()) == 1


def test_an_unknown_provider_has_no_door(db, client):
    assert (
        client.post("/webhooks/nobody", b"{}", content_type="application/json").status_code == 404
    )
    assert client.get("/webhooks/fal").status_code == 405


# --- fal's key set ------------------------------------------------------------------------------


def test_the_key_set_is_fetched_once_for_many_calls(db, signer):
    assert [signer.deliver(f"id-{number}") for number in range(30)] == [200] * 30

    assert len(signer.key_set.asked) == 1


def test_forged_calls_do_not_make_us_ask_for_the_keys(db, signer):
    assert signer.deliver("id") == 200
    stranger = Ed25519PrivateKey.generate()

    assert {signer.deliver("id", key=stranger) for _ in range(30)} == {401}

    assert len(signer.key_set.asked) == 1


def test_keys_that_were_rotated_are_fetched_anew(db, signer, monkeypatch):
    assert signer.deliver("before") == 200
    old = signer.key
    signer.rotate()
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 31)

    assert signer.deliver("after") == 200

    assert signer.deliver("forged", key=old) == 401
    assert len(signer.key_set.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": []}'), (302, b""),
     (200, b'{"keys": [7, {"kty": "OKP", "crv": "Ed25519"}, {"kty": "RSA"}]}'),
     (200, b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "c2hvcnQ"}]}')],
)  # fmt: skip
def test_without_the_keys_it_is_our_trouble_and_to_be_sent_again(
    db, signer, monkeypatch, status, body
):
    signer.key_set.say(status, body)

    assert [signer.deliver("id") for _ in range(10)] == [503] * 10
    assert len(signer.key_set.asked) == 1
    assert not WebhookDelivery.objects.exists()

    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 6)
    assert signer.deliver("id") == 200


def test_an_outage_of_the_key_set_does_not_touch_calls_that_a_known_key_signed(
    db, signer, monkeypatch
):
    assert signer.deliver("before") == 200
    signer.key_set.otherwise = (503, {}, b"")
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 3600)

    forged = signer.deliver("forged", key=Ed25519PrivateKey.generate())
    genuine = signer.deliver("genuine")

    assert (forged, genuine) == (503, 200)


def test_keys_are_not_believed_for_longer_than_a_day(db, signer, monkeypatch):
    assert signer.deliver("before") == 200
    signer.key_set.otherwise = (503, {}, b"")
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 25 * 3600)

    assert signer.deliver("after") == 503


# --- Many at once, with real commits -------------------------------------------------------------


def test_one_call_twelve_times_at_once_is_one_transition(guest, instant_provider, signer):
    job = create_job(guest)
    life = JobDriver()
    life.submit()
    request = request_of(job)
    assert signer.deliver("warm-up") == 200
    body, headers = signer.delivery(request.provider_request_id)

    def call() -> int:
        status = signer.send(body, headers, request.webhook_token)
        life.deliver()
        return status

    assert at_once(*[call] * 12) == [200] * 12
    life.run_until_done(job)

    assert_completed(job)
    of_this = WebhookDelivery.objects.filter(provider_request_id=request.provider_request_id)
    outcomes = list(of_this.values_list("outcome", flat=True))
    assert len(outcomes) == 12
    assert outcomes.count("stored next") == 1
    assert len(submissions(instant_provider)) == 1


# --- The answer that was lost ---------------------------------------------------------------------


def test_the_webhook_names_a_submission_whose_answer_was_lost(
    phone, instant_provider, signer, life
):
    instant_provider.provider(outcome="submit_lost")
    job = create_job(phone)
    life.submit()
    assert request_of(job).state == RequestState.UNKNOWN

    assert send_webhook(signer, job) == 200
    life.run_until_done(job)

    assert_completed(job)
    assert len(submissions(instant_provider)) == 1


def test_a_video_that_comes_after_the_refund_is_kept_and_the_refund_stands(
    phone, instant_provider, signer, life
):
    instant_provider.provider(outcome="submit_lost")
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")
    assert phone.balance() == 10

    for _ in range(3):
        assert send_webhook(signer, job) == 200
    life.deliver()
    life.run_until_done(job)

    seen = phone.get("get-video-status", job_id=job.id).json()
    assert (seen["status"], seen["refunded"]) == ("failed", True)
    assert seen["error"]["code"] == "ERR_5001"
    assert seen["video_url"]
    assert seen["thumbnail_url"]
    assert kinds_of(job.id) == ["charge", "refund"]
    assert phone.balance() == 10
    assert len(submissions(instant_provider)) == 1


def test_news_of_a_failure_after_the_refund_changes_nothing(phone, instant_provider, signer, life):
    instant_provider.provider(outcome="hang")
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")

    # It is not finished at the provider, whatever the call says.
    assert send_webhook(signer, job) == 200
    life.deliver()
    life.run_until_done(job)

    assert_refunded(job, code="ERR_5001")
    assert Job.objects.get(id=job.id).media_name == ""


def test_a_webhook_applied_while_the_job_is_given_up_brings_its_video_all_the_same(
    guest, instant_provider, signer
):
    """One worker processes the delivery while another refunds the job."""
    instant_provider.provider(outcome="submit_lost")
    job = create_job(guest)
    life = JobDriver()
    life.submit()
    # As a worker leaves it that died after sending.
    ProviderRequest.objects.filter(job=job).update(state=RequestState.SENDING)
    assert send_webhook(signer, job) == 200

    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            credit_services.lock_wallet(user_id=job.user_id)
            held = Job.objects.select_for_update(of=("self",)).get(id=job.id)
            applied = pool.submit(at_once, life.deliver)
            wait_for(_somebody_waits)
            settle.close_submission(held, FailureReason.TIMEOUT, now=life.now)
            settle._refund_and_close(held, FailureReason.TIMEOUT, now=life.now)
            transitions.to_done(held)
        applied.result(timeout=30)

    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")
    assert job.media_name


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
