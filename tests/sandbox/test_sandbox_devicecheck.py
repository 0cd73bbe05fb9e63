import base64
import json
import time
from datetime import UTC, datetime

import pytest


def jwt(*, header=None, claims=None):
    def part(content):
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    header = {"alg": "ES256", "kid": "KEY1234567"} | (header or {})
    claims = {"iss": "TEAM123456", "iat": int(time.time())} | (claims or {})
    return f"{part(header)}.{part(claims)}.c2lnbmF0dXJl"


@pytest.fixture
def ask(sandbox):
    """Asks DeviceCheck as our server does; `None` leaves a field out."""

    def send(what, device="sandbox-1", *, authorization=None, **fields):
        body = {
            "device_token": device,
            "transaction_id": "t-1",
            "timestamp": int(time.time() * 1000),
        } | fields
        return sandbox.http.post(
            f"/apple/devicecheck/v1/{what}",
            json={name: value for name, value in body.items() if value is not None},
            headers={"Authorization": authorization or f"Bearer {jwt()}"},
        )

    return send


def test_unset_bits_are_answered_in_plain_text(ask):
    answer = ask("query_two_bits")

    assert answer.status_code == 200
    assert answer.text == "Failed to find bit state"
    assert answer.headers["content-type"].startswith("text/plain")


def test_bits_read_as_they_were_last_set(ask):
    updated = ask("update_two_bits", bit0=True)
    again = ask("update_two_bits", bit1=True)

    queried = ask("query_two_bits")

    assert updated.status_code == again.status_code == queried.status_code == 200
    assert updated.content == b""
    assert queried.json() == {
        "bit0": True,
        "bit1": True,
        "last_update_time": datetime.now(UTC).strftime("%Y-%m"),
    }


def test_bits_are_separate_for_each_device(ask):
    ask("update_two_bits", "sandbox-1", bit0=True, bit1=False)

    assert ask("query_two_bits", "sandbox-1").json()["bit0"] is True
    assert ask("query_two_bits", "sandbox-2").text == "Failed to find bit state"


def test_a_genuine_token_validates_with_an_empty_answer(ask):
    answer = ask("validate_device_token")

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("what", ["query_two_bits", "update_two_bits", "validate_device_token"])
def test_any_other_token_is_bad_in_plain_text(ask, what):
    answer = ask(what, "AAAA", bit0=True)

    assert answer.status_code == 400
    assert answer.text == "Missing or incorrectly formatted device token payload"
    assert answer.headers["content-type"].startswith("text/plain")


# "sandbox-a?b~" has a "/" and a "-" in its base64url.
@pytest.mark.parametrize("name", ["sandbox-1", "sandbox-22", "sandbox-a?b~", "sandbox-abcd"])
def test_a_token_names_one_device_however_it_is_encoded(ask, name):
    ask("update_two_bits", name, bit0=True)

    standard = base64.b64encode(name.encode()).decode()
    url_safe = base64.urlsafe_b64encode(name.encode()).decode()
    for written in (name, standard, url_safe, url_safe.rstrip("="), name.replace("-", "+")):
        assert ask("query_two_bits", written).json()["bit0"] is True, written


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer abc",
        f"Basic {jwt()}",
        f"Bearer {jwt(header={'alg': 'HS256'})}",
        f"Bearer {jwt(header={'kid': ''})}",
        f"Bearer {jwt(claims={'iss': None})}",
        f"Bearer {jwt(claims={'iat': None})}",
        f"Bearer {jwt(claims={'iat': int(time.time()) - 4000})}",
        f"Bearer {jwt(claims={'exp': int(time.time()) - 10})}",
    ],
)
def test_a_call_without_a_current_jwt_is_refused(ask, authorization):
    refused = ask("query_two_bits", authorization=authorization)

    assert refused.status_code == 401
    assert refused.text == "Unable to verify authorization token"
    assert ask("query_two_bits").status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"transaction_id": None},
        {"transaction_id": ""},
        {"timestamp": None},
        {"timestamp": int(time.time())},  # in seconds
        {"timestamp": "1"},
        {"device_token": None},
    ],
)
def test_a_badly_formed_request_is_refused_in_plain_text(ask, fields):
    answer = ask("query_two_bits", **fields)

    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("bits", [{}, {"bit0": "true"}, {"bit0": 1, "bit1": 0}])
def test_bits_must_be_booleans(ask, bits):
    assert ask("update_two_bits", **bits).status_code == 400
    assert ask("query_two_bits").text == "Failed to find bit state"


def test_the_bits_of_a_device_can_be_set_by_control(sandbox, ask):
    told = sandbox.control("apple/device", device_token="sandbox-1", bit0=True)

    assert told == {"device_token": "sandbox-1", "bit0": True, "bit1": False, "valid": True}
    assert ask("query_two_bits").json()["bit0"] is True


def test_a_device_can_be_declared_bad_and_any_token_good(sandbox, ask):
    sandbox.control("apple/device", device_token="sandbox-1", valid=False)
    sandbox.control("apple/device", device_token="AAAA", valid=True)

    assert ask("validate_device_token", "sandbox-1").status_code == 400
    assert ask("validate_device_token", "AAAA").status_code == 200


def test_an_outage_applies_to_its_number_of_calls(sandbox, ask):
    sandbox.control("apple/outage", service="devicecheck", times=2)

    assert [ask("query_two_bits").status_code for _ in range(3)] == [503, 503, 200]


def test_an_outage_without_a_count_lasts_until_it_is_ended(sandbox, ask):
    sandbox.control("apple/outage", service="devicecheck", status=500)
    during = [ask("query_two_bits").status_code for _ in range(3)]

    sandbox.control("apple/outage", service="devicecheck", times=0)

    assert during == [500, 500, 500]
    assert ask("query_two_bits").status_code == 200


def test_tokens_of_one_hardware_share_their_bits(sandbox, ask):
    for token in ("sandbox-1", "sandbox-2"):
        sandbox.control("apple/device", device_token=token, hardware="phone")

    ask("update_two_bits", "sandbox-1", bit0=True, bit1=False)

    assert ask("query_two_bits", "sandbox-2").json()["bit0"] is True
    assert ask("query_two_bits", "sandbox-3").text == "Failed to find bit state"


def test_a_call_takes_as_long_as_the_latency(sandbox, ask):
    assert sandbox.control("apple/device", latency=0.2) == {"latency": 0.2}
    began = time.monotonic()

    ask("query_two_bits")

    assert time.monotonic() - began >= 0.2
