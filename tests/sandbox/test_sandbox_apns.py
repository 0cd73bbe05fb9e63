"""APNs, as its documentation says it answers: over HTTP/2, by its own words."""

import json
import time
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

TOKEN = "00fc13ad" * 8
KEY = ec.generate_private_key(ec.SECP256R1())


def signed(*, headers=None, **claims):
    claims = {"iss": "TEAM123456", "iat": int(time.time())} | claims
    return jwt.encode(claims, KEY, algorithm="ES256", headers=headers or {"kid": "KEY1234567"})


@pytest.fixture
def send(sandbox):
    """One push over HTTP/2: (status, reason)."""
    with httpx.Client(base_url=sandbox.url, http1=False, http2=True, trust_env=False) as client:

        def send(*, token=TOKEN, below="/apns", body=b'{"aps":{}}', ours=None, **headers):
            named = {
                "authorization": f"bearer {signed() if ours is None else ours}",
                "apns-topic": "com.rendio.app",
                "apns-push-type": "alert",
            } | {f"apns-{name.replace('_', '-')}": value for name, value in headers.items()}
            given = {name: value for name, value in named.items() if value is not None}
            answer = client.post(f"{below}/3/device/{token}", content=body, headers=given)
            assert answer.http_version == "HTTP/2"
            return answer.status_code, answer.json() if answer.content else {}

        yield send


def test_a_valid_push_is_accepted_and_recorded(sandbox, send):
    apns_id = str(uuid4())

    taken = send(id=apns_id, priority="10", expiration="1795248215", collapse_id="a job")
    taken_by_the_other = send(below="/apns/sandbox")

    assert (taken, taken_by_the_other) == ((200, {}), (200, {}))
    first, second = sandbox.http.get("/control/pushes").json()["pushes"]
    assert (first["token"], first["id"], first["collapse_id"]) == (TOKEN, apns_id, "a job")
    assert (first["payload"], first["status"]) == ({"aps": {}}, 200)
    assert (first["environment"], second["environment"]) == ("production", "sandbox")
    sandbox.control("reset")
    assert sandbox.http.get("/control/pushes").json()["pushes"] == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"token": "not-hex"}, (400, "BadDeviceToken")),
        ({"topic": None}, (400, "MissingTopic")),
        ({"topic": "com.other.app"}, (400, "DeviceTokenNotForTopic")),
        ({"push_type": "loud"}, (400, "InvalidPushType")),
        ({"priority": "7"}, (400, "BadPriority")),
        ({"expiration": "tomorrow"}, (400, "BadExpirationDate")),
        ({"collapse_id": "x" * 65}, (400, "BadCollapseId")),
        ({"id": "1"}, (400, "BadMessageId")),
        ({"body": b""}, (400, "PayloadEmpty")),
        ({"body": json.dumps("x" * 4096).encode()}, (413, "PayloadTooLarge")),
        ({"ours": ""}, (403, "MissingProviderToken")),
        ({"ours": "a.b.c"}, (403, "InvalidProviderToken")),
        ({"ours": signed(headers={"typ": "JWT"})}, (403, "InvalidProviderToken")),
        ({"ours": signed(iat=int(time.time()) - 3700)}, (403, "ExpiredProviderToken")),
    ],
)
def test_an_invalid_push_is_refused_with_apples_reason(send, fault, expected):
    status, told = send(**fault)

    assert (status, told["reason"]) == expected


def test_a_token_can_be_set_to_unregistered(sandbox, send):
    sandbox.control("apns", token=TOKEN.upper(), status=410, reason="Unregistered", times=1)

    status, told = send()

    assert (status, told["reason"]) == (410, "Unregistered")
    assert abs(told["timestamp"] / 1000 - time.time()) < 600
    assert send() == (200, {})


def test_a_control_without_a_token_applies_to_all_tokens(sandbox, send):
    sandbox.control("apns", status=503, reason="Shutdown")
    assert send() == send(token="ab" * 32) == (503, {"reason": "Shutdown"})

    sandbox.control("apns", status=200)

    assert send() == (200, {})


def test_http_1_is_refused(sandbox):
    assert sandbox.http.post(f"/apns/3/device/{TOKEN}").status_code == 505


def test_a_control_without_a_reason_is_refused(sandbox):
    answer = sandbox.http.post("/control/apns", json={"status": 410})

    assert (answer.status_code, answer.json()["error"]) == (400, "reason is missing.")
