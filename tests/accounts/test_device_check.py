"""Device check: a phone becomes a guest, with Apple's word and no more than that."""

import base64
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings as django_settings
from django.utils import timezone

from accounts.models import Device, Session, User, WelcomeClaim

pytestmark = pytest.mark.django_db


def nothing_was_created():
    return not any(table.objects.exists() for table in (User, Device, Session, WelcomeClaim))


def operations(sandbox):
    return [request["path"].rsplit("/", 1)[-1] for request in sandbox.requests("apple")]


def bits_of(sandbox, device_token):
    known = sandbox.control("apple/device", device_token=device_token, valid=True)
    return known["bit0"], known["bit1"]


def test_a_new_phone_gets_a_guest_ten_credits_and_a_session(installation):
    answer = installation.check()

    assert answer.status_code == 200
    body = answer.json()
    assert body["is_new"] is True
    assert body["is_guest"] is True
    assert body["credits_remaining"] == 10
    assert str(UUID(body["user_id"])) == body["user_id"]
    assert set(body) == {"user_id", "credits_remaining", "is_new", "is_guest", "session"}
    assert set(body["session"]) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert body["session"]["token_type"] == "bearer"
    assert body["session"]["expires_in"] == django_settings.ACCESS_TOKEN_SECONDS
    assert installation.get("get-user-profile").json()["id"] == body["user_id"]


def test_a_known_phone_gets_its_user_again_and_no_second_welcome(installation, sandbox):
    first = installation.signed_in().answer

    again = installation.check().json()

    assert again["user_id"] == first["user_id"]
    assert again["is_new"] is False
    assert again["credits_remaining"] == 10
    assert again["session"]["refresh_token"] != first["session"]["refresh_token"]
    assert operations(sandbox) == ["query_two_bits", "update_two_bits", "query_two_bits"]


def test_a_reinstalled_app_on_known_hardware_is_a_new_guest_without_credits(guest):
    reinstalled = guest.reinstalled().signed_in().answer

    assert reinstalled["is_new"] is True
    assert reinstalled["user_id"] != guest.user_id
    assert reinstalled["credits_remaining"] == 0


def test_hardware_whose_bit_is_set_gets_no_welcome_and_no_claim(installation, sandbox):
    sandbox.control("apple/device", device_token=installation.device_token, bit0=True)

    answer = installation.signed_in().answer

    assert answer["credits_remaining"] == 0
    assert installation.get("get-user-profile").json()["initial_grant_claimed"] is False
    assert not WelcomeClaim.objects.exists()
    assert "update_two_bits" not in operations(sandbox)


@pytest.mark.parametrize("bit1", [True, False])
def test_the_second_bit_stays_as_it_was(installation, sandbox, bit1):
    sandbox.control("apple/device", device_token=installation.device_token, bit0=False, bit1=bit1)

    installation.signed_in()

    assert bits_of(sandbox, installation.device_token) == (True, bit1)


def test_base64url_without_padding_is_the_same_hardware_as_base64(new_installation, sandbox):
    # Its base64 has "+", "/" and "=", its base64url "-" and "_".
    raw = b"\xfb\xff" + b"hardware"
    token = base64.b64encode(raw).decode()
    sandbox.control("apple/device", device_token=token, valid=True)
    first = new_installation(device_token=token).signed_in().answer

    url_safe = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    again = new_installation(device_token=url_safe).signed_in().answer

    assert url_safe != token
    assert first["credits_remaining"] == 10
    assert again["credits_remaining"] == 0
    assert [request["body"]["device_token"] for request in sandbox.requests("apple")] == [token] * 3


def test_a_token_that_apple_does_not_vouch_for_is_refused(installation, sandbox, refusal):
    sandbox.control("apple/device", device_token=installation.device_token, valid=False)

    refused = installation.check()

    assert refusal(refused) == (403, "ERR_4012")
    assert nothing_was_created()
    sandbox.control("apple/device", device_token=installation.device_token, valid=True)
    assert installation.check().json()["credits_remaining"] == 10


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503])
def test_apple_in_trouble_is_a_503_that_creates_nothing(installation, sandbox, refusal, status):
    sandbox.control("apple/outage", service="devicecheck", status=status, times=1)

    refused = installation.check()

    assert refusal(refused) == (503, "ERR_5004")
    assert nothing_was_created()
    assert installation.check().json()["credits_remaining"] == 10


def test_apple_out_of_reach_is_a_503_that_creates_nothing(installation, settings, refusal):
    settings.DEVICECHECK_URL, there = "http://127.0.0.1:9/v1", settings.DEVICECHECK_URL

    refused = installation.check()

    assert refusal(refused) == (503, "ERR_5004")
    assert nothing_was_created()
    settings.DEVICECHECK_URL = there
    assert installation.check().json()["credits_remaining"] == 10


@pytest.mark.parametrize(
    "answer",
    [
        (200, "[]"),
        (200, '{"bit0": 1}'),
        (200, '"Failed to find bit state"'),
        (200, ""),
        (200, "<html><body>Please sign in to the network</body></html>"),
        (200, "Failed to find bit state in time"),
        (200, "OK"),
        None,
    ],
)
def test_an_answer_of_apple_that_we_cannot_read_is_a_503(installation, apple, refusal, answer):
    apple.answers = [answer]

    refused = installation.check()

    assert refusal(refused) == (503, "ERR_5004")
    assert nothing_was_created()


@pytest.mark.parametrize(
    "words", ["Failed to find bit state", "Bit State Not Found", "bit state not found\n"]
)
def test_bits_that_were_never_set_come_in_plain_text(installation, apple, words):
    apple.answers = [(200, words), (200, "")]

    assert installation.check().json()["credits_remaining"] == 10
    assert apple.seen[1][1]["bit0"] is True
    assert apple.seen[1][1]["bit1"] is False


def test_apple_is_asked_in_its_own_form(installation, apple, settings):
    apple.answers = [(200, "Failed to find bit state"), (200, "")]
    before = timezone.now().timestamp()

    installation.signed_in()

    (asked, query, authorization), (told, update, _) = apple.seen
    assert (asked, told) == ("query_two_bits", "update_two_bits")
    assert set(query) == {"device_token", "transaction_id", "timestamp"}
    assert set(update) == {"device_token", "transaction_id", "timestamp", "bit0", "bit1"}
    assert query["transaction_id"] != update["transaction_id"]
    assert before - 1 <= query["timestamp"] / 1000 <= timezone.now().timestamp()
    token = authorization.removeprefix("Bearer ")
    key = load_pem_private_key(settings.DEVICECHECK_PRIVATE_KEY.encode(), None).public_key()
    claims = jwt.decode(token, key, algorithms=["ES256"])
    assert claims["iss"] == settings.APPLE_TEAM_ID
    assert jwt.get_unverified_header(token)["kid"] == settings.DEVICECHECK_KEY_ID


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"device_id": None}, "device_id"),
        ({"device_id": ""}, "device_id"),
        ({"device_id": "my-phone"}, "device_id"),
        ({"device_id": 7}, "device_id"),
        ({"device_id": [str(uuid4())]}, "device_id"),
        ({"device_token": None}, "device_token"),
        ({"device_token": ""}, "device_token"),
        ({"device_token": 12345678}, "device_token"),
        ({"device_token": {"a": 1}}, "device_token"),
        ({"device_token": "no base64!"}, "device_token"),
        ({"device_token": "===="}, "device_token"),
        ({"device_token": "A" * 8193}, "device_token"),
        ({"installation_secret": None}, "installation_secret"),
        ({"installation_secret": ""}, "installation_secret"),
        ({"installation_secret": "s" * 31}, "installation_secret"),
        ({"installation_secret": "s" * 129}, "installation_secret"),
        ({"installation_secret": 10**40}, "installation_secret"),
        ({"installation_secret": ["s" * 32]}, "installation_secret"),
    ],
)
def test_bad_input_names_its_field_and_asks_apple_nothing(
    installation, sandbox, refusal, change, field
):
    good = installation.check_body

    refused = installation.post("device-check", good | change)

    assert refusal(refused) == (400, "ERR_4008")
    assert list(refused.json()["error"]["details"]["fields"]) == [field]
    assert sandbox.requests("apple") == []
    assert nothing_was_created()
    assert installation.post("device-check", good | {"unknown": "field"}).status_code == 200


def test_the_twenty_first_check_of_an_installation_in_an_hour_is_refused(guest, settings, refusal):
    settings.RATE_LIMITS |= {"device_check_per_installation": (20, 3600)}

    statuses = [guest.check().status_code for _ in range(20)]

    assert statuses == [200] * 20
    refused = guest.check()
    assert refusal(refused) == (429, "ERR_4004")
    assert int(refused.headers["Retry-After"]) > 0


def test_without_redis_nobody_is_let_in_uncounted(installation, settings, refusal, redis_gone):
    settings.RATE_LIMITS |= {"first_check_per_ip": (20, 3600)}
    with redis_gone():
        refused = installation.check()

    assert refusal(refused) == (503, "ERR_5004")
    assert nothing_was_created()
    assert installation.check().status_code == 200


def test_the_older_path_answers_alike(installation):
    body = installation.check_body

    answer = installation.client.post(
        "/functions/v1/device-check", body, content_type="application/json"
    )

    assert answer.json()["credits_remaining"] == 10
