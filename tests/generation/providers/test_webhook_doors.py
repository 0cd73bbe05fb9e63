"""`POST /webhooks/{provider}` of those that share a secret with us: who is let in, and what a call
brings about."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from django.test import Client

from generation.models import ProviderRequest, Stage, WebhookDelivery
from tests.helpers.job_driver import assert_completed, create_job, override_provider
from tests.helpers.model_ids import GEN

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
