"""Whatever comes to our webhooks: what nobody signed is refused, what somebody signed does no
harm."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.apple import identity_tokens
from generation.models import WebhookDelivery
from tests.billing.conftest import deliver, post_notification
from tests.helpers import hostile_input
from tests.helpers.budget import budgeted
from tests.helpers.job_driver import USER_ID, create_job, override_provider
from tests.helpers.model_ids import WAN

pytestmark = budgeted

SECRET = "a secret that we share with a relay"
STANDARD_SECRET = base64.b64encode(b"a secret of the standard's").decode()
HEADERS = {
    "fal": [
        f"X-Fal-Webhook-{name}" for name in ("Request-Id", "User-Id", "Timestamp", "Signature")
    ],
    "runway": ["X-Webhook-Signature"],
    "replicate": ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"],
    # They sign nothing: their webhooks need the token of a submission.
    "runpod": [],
    "modal": [],
}
BODIES = hostile_input.json_bodies(
    ["request_id", "id", "status", "payload", "error", "output", "logs"]
)


def headers_of(provider):
    """Most of them well written: what is wrong with one is seen only where the others pass."""
    stamp = str(int(time.time()))
    written = {
        "User-Id": st.just(USER_ID),
        "Timestamp": st.just(stamp) | st.sampled_from(hostile_input.NUMBERS),
        "Signature": st.binary(max_size=70).map(
            lambda raw: (
                f"v1,{base64.b64encode(raw).decode()}" if provider == "replicate" else raw.hex()
            )
        ),
    }
    named = {
        name: written.get(name.rpartition("Webhook-")[2], hostile_input.header_texts)
        for name in HEADERS[provider]
    }
    return st.fixed_dictionaries(named) | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(named, hostile_input.header_texts)
    )


def post(provider, body, headers, token=""):
    return (
        Client()
        .post(
            f"/webhooks/{provider}",
            body,
            content_type="application/json",
            headers=headers,
            query_params={"token": token},
        )
        .status_code
    )


@pytest.fixture
def shared(settings):
    """Runway's relay and Replicate share secrets with us."""
    override_provider(settings, "runway", webhook_secrets=[SECRET])
    override_provider(settings, "replicate", webhook_secrets=[f"whsec_{STANDARD_SECRET}"])


@pytest.mark.parametrize("provider", HEADERS)
def test_what_nobody_signed_is_refused_and_changes_nothing(shared, signer, rows, provider):
    before = rows()

    @given(body=BODIES, headers=headers_of(provider))
    @hostile_input.examples(80)
    def is_refused(body, headers):
        assert post(provider, body, headers) == 401
        assert rows() == before

    is_refused()


def sign_fal(signer, body, name):
    return signer.delivery(name, body=body)[1]


def sign_runway(signer, body, name):
    return {"X-Webhook-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}


def sign_replicate(signer, body, name):
    stamp = str(int(time.time()))
    message = f"{name}.{stamp}.".encode() + body
    digest = hmac.digest(base64.b64decode(STANDARD_SECRET), message, "sha256")
    return {
        "Webhook-Id": name,
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@pytest.mark.parametrize("sign", [sign_fal, sign_runway, sign_replicate])
def test_whatever_a_provider_says_of_nobody_is_kept_and_moves_nothing(
    shared, signer, phone, life, sign
):
    job = create_job(phone, model_id=str(WAN))
    provider = sign.__name__.removeprefix("sign_")
    names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=150)

    @given(body=BODIES.filter(bool), name=names, token=hostile_input.texts)
    @hostile_input.examples(40)
    def is_kept(body, name, token):
        assert post(provider, body, sign(signer, body, name), token.replace("\ud800", "")) == 200

    is_kept()
    life.deliver()
    life.deliver()

    assert not WebhookDelivery.objects.filter(processed_at=None).exists()
    job.refresh_from_db()
    assert (job.status, phone.balance()) == ("pending", 10 - job.credits)


# --- Apple ------------------------------------------------------------------------------------


def test_what_apple_did_not_sign_is_no_notification(phone, store, rows):
    told = store.buy(phone=phone)
    before = rows()

    @given(payload=hostile_input.forged_tokens(told["signed_payload"]))
    @hostile_input.examples(60)
    def is_refused(payload):
        assert post_notification(payload).status_code in {400, 401}
        assert rows() == before

    is_refused()
    assert deliver(told).status_code == 200


def test_what_apple_did_not_sign_is_no_purchase(phone, store, rows):
    bought = store.buy(phone=phone)
    before = rows()

    @given(signed=hostile_input.forged_tokens(bought["signed_transaction"]))
    @hostile_input.examples(60)
    def is_refused(signed):
        assert phone.post("update-credits", {"signed_transaction": signed}).status_code == 400
        assert rows() == before

    is_refused()
    genuine = {"signed_transaction": bought["signed_transaction"]}
    assert phone.post("update-credits", genuine).json()["credits_remaining"] == 20


@given(body=hostile_input.json_bodies(["signedPayload", "payload"]))
@hostile_input.examples(40)
@pytest.mark.parametrize("path", ["app-store", "apple-id"])
def test_a_body_that_is_no_notice_is_refused(sandbox, rows, path, body):
    before = rows()
    identity_tokens.keys.clear()

    answer = Client().post(f"/webhooks/{path}", body, content_type="application/json")

    assert answer.status_code in {400, 401}, answer.content
    assert json.loads(answer.content)["error"]["code"]
    assert rows() == before
