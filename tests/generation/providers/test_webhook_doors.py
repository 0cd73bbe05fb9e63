"""`POST /webhooks/{provider}` of those that share a secret with us, and of those that sign nothing:
who is let in, and what a call brings about."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from django.test import Client

from generation.models import ProviderRequest, Stage, WebhookDelivery
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    create_job,
    override_provider,
)
from tests.helpers.model_ids import GEN
from tests.helpers.provider_models import only_made_by

SECRET = "a secret that we share with a relay"


@pytest.fixture
def call(settings):
    """A signed call as a relay makes it; returns the status of the answer."""
    override_provider(settings, "runway", webhook_secrets=[SECRET])

    def deliver(body: bytes, *, secret: str = SECRET, token: str = "") -> int:
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        answer = Client().post(
            f"/webhooks/runway?token={token}",
            body,
            content_type="application/json",
            headers={"X-Webhook-Signature": signature},
        )
        return int(answer.status_code)

    return deliver


@pytest.fixture
def task(phone, sandbox, life):
    """A job that Runway has finished, which nobody has looked at."""
    sandbox.provider(provider="runway", queue_seconds=0, run_seconds=0)
    job = create_job(phone, model_id=str(GEN))
    life.submit()
    return job


def told(job) -> bytes:
    request = ProviderRequest.objects.get(job=job)
    return json.dumps({"id": request.provider_request_id, "status": "SUCCEEDED"}).encode()


def test_a_signed_call_saves_the_looking_and_a_forged_one_changes_nothing(
    task, call, life, sandbox
):
    body = told(task)

    assert call(body, secret="somebody else's secret, of 32 letters") == 401
    assert not WebhookDelivery.objects.exists()
    assert call(body) == 200
    life.deliver()
    task.refresh_from_db()
    assert task.stage == Stage.STORE
    life.store()

    assert_completed(task)
    # To fetch the result, and that is all.
    asked = [one["path"] for one in sandbox.requests("runway") if one["method"] == "GET"]
    assert len([path for path in asked if "/tasks/" in path]) == 1


@pytest.mark.parametrize(
    "body", [b'{"id": "nobody"}', b"{}", b"[]", b"", b"\x00\xff", b'{"id": {"a": 1}}']
)
def test_what_is_genuine_but_unknown_is_kept_and_moves_nothing(task, call, life, body):
    # Its answer never came, so it has no name yet: a call without one must not be taken for it.
    ProviderRequest.objects.filter(job=task).update(provider_request_id="", state="unknown")
    token = ProviderRequest.objects.get(job=task).webhook_token if body == b"{}" else ""

    assert call(body, token=token) == 200
    life.advance(1).deliver()

    delivery = WebhookDelivery.objects.get()
    assert (delivery.provider, delivery.outcome) == ("runway", "unknown")
    task.refresh_from_db()
    assert task.stage == Stage.QUEUED


def test_without_a_secret_nobody_is_let_in(task, call, settings):
    override_provider(settings, "runway", webhook_secrets=[])

    assert call(told(task)) == 401


# --- Without a signature --------------------------------------------------------------------------

UNSIGNED = pytest.mark.parametrize("provider", ["runpod", "modal"])


@pytest.fixture
def made(phone, sandbox, life):
    """A job that the provider has finished, which nobody has looked at."""

    def make(provider: str, **plan):
        sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False, **plan)
        job = create_job(phone, model_id=only_made_by(provider))
        life.submit()
        return job

    return make


def call_unsigned(provider: str, body: bytes, token: str) -> int:
    answer = Client().post(
        f"/webhooks/{provider}?token={token}", body, content_type="application/json"
    )
    return int(answer.status_code)


def token_of(job) -> str:
    return ProviderRequest.objects.get(job=job).webhook_token


@UNSIGNED
def test_the_token_of_the_submission_is_all_that_lets_in(made, life, sandbox, provider):
    job = made(provider)
    body, token = told(job), token_of(job)

    for other in ("", "x", token[:-1], token + "x", token.swapcase(), "%00"):
        assert call_unsigned(provider, body, other) == 401
    assert not WebhookDelivery.objects.exists()
    assert call_unsigned(provider, body, token) == 200
    life.deliver()
    life.store()

    assert_completed(job)


@UNSIGNED
def test_a_token_lets_in_at_its_own_provider_alone(made, provider):
    job = made(provider)
    other = {"runpod": "modal", "modal": "runpod"}[provider]

    assert call_unsigned(other, told(job), token_of(job)) == 401


@UNSIGNED
def test_what_a_call_says_of_the_end_is_read_again_at_the_provider(made, life, sandbox, provider):
    """Also where the token got into the wrong hands."""
    job = made(provider, outcome="error")
    claim = json.loads(told(job)) | {
        "status": "COMPLETED",
        "output": {"files": ["https://evil.example/x.mp4"]},
    }

    assert call_unsigned(provider, json.dumps(claim).encode(), token_of(job)) == 200
    life.deliver()
    life.store()

    assert_refunded(job, code="ERR_5002")


@UNSIGNED
def test_a_lost_answer_is_found_by_the_call_that_names_the_submission(
    made, life, sandbox, provider
):
    job = made(provider, outcome="submit_lost")
    assert ProviderRequest.objects.get(job=job).provider_request_id == ""
    (theirs,) = sandbox.jobs(provider)

    body = json.dumps({"id": theirs["request_id"]}).encode()
    assert call_unsigned(provider, body, token_of(job)) == 200
    life.deliver()
    life.store()

    assert_completed(job)
