import base64
import hashlib
import json
import time
from itertools import pairwise

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.helpers.budget import large


def verify(sandbox, delivery):
    """As fal tells its customers to. Raises InvalidSignature."""
    headers = delivery["headers"]
    message = "\n".join(
        [
            headers["X-Fal-Webhook-Request-Id"],
            headers["X-Fal-Webhook-User-Id"],
            headers["X-Fal-Webhook-Timestamp"],
            hashlib.sha256(delivery["body"]).hexdigest(),
        ]
    )
    (key,) = sandbox.http.get("/fal/jwks.json").json()["keys"]
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))
    public.verify(bytes.fromhex(headers["X-Fal-Webhook-Signature"]), message.encode())


def age(delivery):
    return delivery["at"] - int(delivery["headers"]["X-Fal-Webhook-Timestamp"])


def test_a_webhook_is_sent_once_with_the_result(sandbox, receiver):
    job = sandbox.submitted(webhook=receiver.url)

    told = receiver.first()

    assert told == {
        "request_id": job["request_id"],
        "gateway_request_id": told["gateway_request_id"],
        "status": "OK",
        "payload": sandbox.result(job).json(),
    }
    assert len(receiver.deliveries) == 1


def test_a_webhook_verifies_against_the_key_set(sandbox, receiver):
    job = sandbox.submitted(webhook=receiver.url)

    (delivery,) = receiver.wait_for(1)

    verify(sandbox, delivery)
    assert delivery["headers"]["X-Fal-Webhook-Request-Id"] == job["request_id"]
    assert delivery["headers"]["X-Fal-Webhook-User-Id"] == "sandbox-user"
    assert abs(age(delivery)) < 5


def test_the_key_set_survives_a_reset(sandbox):
    before = sandbox.http.get("/fal/jwks.json").json()

    sandbox.control("reset")

    assert sandbox.http.get("/fal/jwks.json").json() == before


def test_a_failure_webhook_has_the_models_message(sandbox, receiver):
    sandbox.fal(outcome="content_policy")
    job = sandbox.submitted(webhook=receiver.url)

    told = receiver.first()

    assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 422")
    assert told["payload"] == sandbox.result(job).json()


def test_a_refused_webhook_is_retried_with_growing_delays(sandbox, receiver):
    receiver.answers = [500, 401, 200]
    sandbox.submitted(webhook=receiver.url)

    deliveries = receiver.wait_for(3)

    assert len({delivery["body"] for delivery in deliveries}) == 1
    first, second = (b["at"] - a["at"] for a, b in pairwise(deliveries))
    assert 0.4 < first < second


def test_a_redirected_webhook_is_not_retried(sandbox, receiver):
    receiver.answers = [302]
    first = sandbox.submitted(webhook=receiver.url)
    receiver.wait_for(1)

    # Refused at the same time, this one is through with its second attempt.
    receiver.answers = [500]
    second = sandbox.submitted(webhook=receiver.url)
    deliveries = receiver.wait_for(3)

    told = [json.loads(delivery["body"])["request_id"] for delivery in deliveries]
    assert told == [first["request_id"], second["request_id"], second["request_id"]]


@pytest.mark.parametrize("control", [{"outcome": "webhook_lost", "times": 1}, {"webhooks": False}])
def test_a_lost_webhook_is_never_sent(sandbox, receiver, control):
    sandbox.fal(**control)
    silent = sandbox.submitted(webhook=receiver.url)
    assert sandbox.result(silent).status_code == 200

    sandbox.fal(outcome="ok", webhooks=True)
    loud = sandbox.submitted(webhook=receiver.url)

    assert receiver.first()["request_id"] == loud["request_id"]
    assert len(receiver.deliveries) == 1


def test_a_duplicate_webhook_comes_three_times(sandbox, receiver):
    sandbox.fal(outcome="webhook_duplicate")
    sandbox.submitted(webhook=receiver.url)

    deliveries = receiver.wait_for(3)

    assert len({delivery["body"] for delivery in deliveries}) == 1
    for delivery in deliveries:
        verify(sandbox, delivery)


@large
def test_a_late_webhook_comes_seconds_after_the_end(sandbox, receiver):
    sandbox.fal(outcome="webhook_late")
    job = sandbox.submitted(webhook=receiver.url)
    sandbox.completed(job)
    completed_at = time.time()

    (delivery,) = receiver.wait_for(1)

    assert 4 < delivery["at"] - completed_at < 8
    verify(sandbox, delivery)


def test_a_forged_webhook_does_not_verify(sandbox, receiver):
    sandbox.fal(outcome="webhook_bad_signature", times=1)
    sandbox.submitted(webhook=receiver.url)
    (forged,) = receiver.wait_for(1)
    sandbox.submitted(webhook=receiver.url)
    _, genuine = receiver.wait_for(2)

    with pytest.raises(InvalidSignature):
        verify(sandbox, forged)
    verify(sandbox, genuine)


def test_a_stale_webhook_verifies_but_is_old(sandbox, receiver):
    sandbox.fal(outcome="webhook_stale_timestamp")
    sandbox.submitted(webhook=receiver.url)

    (delivery,) = receiver.wait_for(1)

    verify(sandbox, delivery)
    assert age(delivery) > 300
