"""An attacker sends false signatures as fast as our limits let them: beyond the limit none of them
is verified, and genuine senders elsewhere are served as before."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client

from accounts.apple import identity_tokens
from tests.accounts.conftest import Installation, Person
from tests.generation.conftest import signer, stub_server  # noqa: F401 - fixtures
from tests.helpers.job_driver import WebhookSigner
from tests.helpers.phone import assert_refused
from tests.helpers.sandbox_control import Sandbox

pytestmark = pytest.mark.django_db

ELSEWHERE = "198.51.100.7"
LIMIT = 3


@pytest.fixture
def limited(settings):
    """Sets a limit whose window does not end while a test runs."""

    def limit(name: str) -> None:
        settings.RATE_LIMITS = settings.RATE_LIMITS | {name: (LIMIT, 3600)}

    return limit


def post(path: str, body: Any, *, address: str = "127.0.0.1", **headers: str) -> Any:
    return Client(REMOTE_ADDR=address).post(
        path, body, content_type="application/json", headers=headers
    )


# --- Webhooks ---------------------------------------------------------------------------------

# A sender: given an address and whether the signature is genuine, calls the webhook.
Send = Callable[..., Any]


def fal(sandbox: Sandbox, signer: WebhookSigner) -> Send:  # noqa: F811
    stranger = Ed25519PrivateKey.generate()

    def send(*, genuine: bool, address: str = "127.0.0.1") -> Any:
        body, headers = signer.delivery("id", key=None if genuine else stranger)
        return post("/webhooks/fal", body, address=address, **headers)

    return send


def app_store(sandbox: Sandbox, signer: WebhookSigner) -> Send:  # noqa: F811
    told = sandbox.control("apple/purchase", product_id="com.rendio.credits.10", deliver=False)
    forged = sandbox.control(
        "apple/forge", flaw="foreign_root", notification_uuid=told["notification_uuid"]
    )

    def send(*, genuine: bool, address: str = "127.0.0.1") -> Any:
        payload = (told if genuine else forged)["signed_payload"]
        return post("/webhooks/app-store", {"signedPayload": payload}, address=address)

    return send


def apple_id(sandbox: Sandbox, signer: WebhookSigner) -> Send:  # noqa: F811
    identity_tokens.keys.clear()
    notice = {"sub": "nobody", "type": "consent-revoked", "url": "http://127.0.0.1:9/"}
    payload = sandbox.control("apple/identity-notice", **notice)["payload"]
    head, claims, signature = payload.split(".")

    def send(*, genuine: bool, address: str = "127.0.0.1") -> Any:
        signed = signature if genuine else "A" * len(signature)
        return post("/webhooks/apple-id", {"payload": f"{head}.{claims}.{signed}"}, address=address)

    return send


@pytest.mark.parametrize("sender", [fal, app_store, apple_id])
def test_no_signature_of_a_forgers_address_is_verified_beyond_the_limit(
    sandbox,
    signer,  # noqa: F811
    limited,
    sender,
):
    limited("forgeries_per_ip")
    send = sender(sandbox, signer)
    assert [send(genuine=False).status_code for _ in range(LIMIT)] == [401] * LIMIT

    # Verified, it would be a 200: so it was not.
    refused = send(genuine=True)

    assert_refused(refused, 429, "ERR_4004")
    assert int(refused["Retry-After"]) > 0
    assert_refused(send(genuine=False), 429, "ERR_4004")
    assert send(genuine=True, address=ELSEWHERE).status_code == 200
    assert send(genuine=False, address=ELSEWHERE).status_code == 401


def test_genuine_webhooks_count_as_no_forgeries(sandbox, signer, limited):  # noqa: F811
    limited("forgeries_per_ip")
    send = fal(sandbox, signer)

    assert [send(genuine=True).status_code for _ in range(LIMIT + 3)] == [200] * (LIMIT + 3)

    assert len(signer.key_set.asked) == 1


# --- Calls of phones --------------------------------------------------------------------------


def random_base64(size: int) -> str:
    return base64.b64encode(uuid4().bytes * (size // 16)).decode()


def false_device_check(phone: Installation) -> Any:
    phone.device_token = random_base64(96)  # Apple does not know it
    return phone.check()


def false_first_check(phone: Installation) -> Any:
    return Installation(device_token=random_base64(96)).check()


def false_attestation(phone: Installation) -> Any:
    body = {
        "device_id": str(uuid4()),
        "installation_secret": phone.installation_secret,
        "key_id": random_base64(32),
        "challenge": "x",
        "attestation": random_base64(1600),
    }
    return phone.post("attest-device", body)


def false_identity(phone: Installation) -> Any:
    tokens = Person(Sandbox()).tokens()
    head, claims, signature = tokens["identity_token"].split(".")
    tokens["identity_token"] = f"{head}.{claims}.{'A' * len(signature)}"
    return phone.post("merge-guest-to-user", tokens)


def false_transaction(phone: Installation) -> Any:
    sandbox = Sandbox()
    bought = sandbox.control("apple/purchase", product_id="com.rendio.credits.10", deliver=False)
    forged = sandbox.control(
        "apple/forge", flaw="foreign_root", transaction_id=bought["transaction_id"]
    )
    return phone.post("update-credits", forged)


@pytest.mark.parametrize(
    ("limit", "call", "status", "verified"),
    [
        ("device_check_per_installation", false_device_check, 403, "device_check_failed"),
        ("unproven_per_ip", false_first_check, 403, "device_check_failed"),
        ("unproven_per_ip", false_attestation, 403, "app_attest_refused"),
        ("sign_in_per_user", false_identity, 401, "apple_sign_in_failed"),
        ("purchases_per_user", false_transaction, 400, "purchase_not_genuine"),
    ],
)
def test_a_phones_false_proofs_are_not_verified_beyond_the_limit(
    sandbox, limited, caplog, limit, call, status, verified
):
    identity_tokens.keys.clear()
    phone = Installation().signed_in()
    limited(limit)

    answers = [call(phone).status_code for _ in range(LIMIT + 3)]

    assert answers == [status] * LIMIT + [429] * 3
    assert caplog.text.count(verified) == LIMIT


def test_who_shares_an_address_with_a_forger_of_identities_signs_in(sandbox, limited):
    identity_tokens.keys.clear()
    forger, neighbour = Installation().signed_in(), Installation().signed_in()
    limited("sign_in_per_user")
    assert [false_identity(forger).status_code for _ in range(LIMIT + 1)][-1] == 429

    assert Person(sandbox).signs_in(neighbour).status_code == 200
