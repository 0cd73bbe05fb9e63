"""Request limits: what a client is told, who is counted together, and that Redis may be gone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from django.conf import settings
from django.test import Client, RequestFactory

from accounts import services as account_services
from accounts.models import Tier
from rendio.common.web import forwarded as forwarded_headers
from rendio.common.web import ratelimit
from rendio.common.web.forwarded import ForwardedMiddleware
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone, assert_refused


@pytest.fixture
def limits(settings):
    """Sets some limits; the window of an hour does not end while a test runs."""

    def set_limits(**changed):
        settings.RATE_LIMITS = settings.RATE_LIMITS | {
            name: (limit, 3600) for name, limit in changed.items()
        }

    return set_limits


@pytest.fixture
def redis_at(settings):
    """Points the limiter to another Redis."""

    def point(url):
        settings.REDIS_URL = url
        ratelimit._redis.cache_clear()

    yield point
    ratelimit._redis.cache_clear()


def limit_headers(answer):
    return {
        name: int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")
    }


def test_responses_state_the_remaining_requests(phone, limits):
    limits(default_per_user=3)

    first, second = phone.get("get-user-credits"), phone.get("get-user-credits")

    assert limit_headers(first) | {"Reset": 0} == {"Limit": 3, "Remaining": 2, "Reset": 0}
    assert limit_headers(second)["Remaining"] == 1
    assert 0 < limit_headers(first)["Reset"] - time.time() <= 3600


def test_call_beyond_the_limit_is_429_with_retry_after(phone, limits):
    limits(default_per_user=2)
    assert [phone.get("get-user-credits").status_code for _ in range(2)] == [200, 200]

    refused = phone.get("get-user-credits")

    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (429, "ERR_4004", "RATE_LIMITED")
    assert error["details"] == {"retry_after": int(refused.headers["Retry-After"])}
    assert 0 < error["details"]["retry_after"] <= 3600
    assert limit_headers(refused)["Remaining"] == 0


def test_users_are_counted_separately(phone, limits):
    limits(default_per_user=1)
    assert phone.get("get-user-credits").status_code == 200
    assert phone.get("get-user-credits").status_code == 429

    assert Phone().sign_in().get("get-user-credits").status_code == 200


def test_hourly_generations_are_counted_by_user(phone, limits):
    limits(generation_hour_per_user=1)
    other = Phone().sign_in()

    codes = [asked.generate().status_code for asked in (phone, other, phone, other)]

    assert codes == [200, 200, 429, 429]


def test_generations_are_counted_by_user_across_addresses(phone, limits, settings):
    limits(generation_minute_per_user=1)
    settings.TRUSTED_PROXIES = 1

    def generate_from(address):
        return phone.post(
            "generate-video", {"prompt": "A balloon"}, X_Forwarded_For=address,
            Idempotency_Key="5b0f0d5e-0000-4000-8000-00000000000a",
        )  # fmt: skip

    assert generate_from("192.0.2.1").status_code == 200
    assert generate_from("192.0.2.2").status_code == 429


def test_a_refused_generation_costs_nothing_and_its_key_is_free(phone, limits):
    limits(generation_minute_per_user=1)
    assert phone.generate().status_code == 200
    key = "5b0f0d5e-0000-4000-8000-00000000000b"
    assert phone.generate(key=key).status_code == 429
    assert phone.balance() == 6

    limits(generation_minute_per_user=0)
    assert phone.generate(key=key).status_code == 200
    assert phone.balance() == 2


def test_zero_disables_a_limit_and_its_headers(phone, limits):
    limits(default_per_user=0)

    answers = [phone.get("get-user-credits") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert not any("X-RateLimit-Limit" in answer.headers for answer in answers)


def test_headers_state_the_tightest_limit(phone, limits):
    limits(generation_hour_per_user=10, generation_minute_per_user=3)
    assert limit_headers(phone.generate())["Limit"] == 3

    limits(generation_hour_per_user=2, generation_minute_per_user=30)
    assert limit_headers(phone.generate())["Limit"] == 2


def test_limits_follow_the_tier_of_the_access_token(phone, limits):
    limits(default_per_user=1, premium_default_per_user=3)
    account_services.set_tier(user_id=phone.user_id, tier=Tier.PREMIUM, until=None)
    assert limit_headers(phone.get("get-user-credits"))["Limit"] == 1

    answer = phone.post("auth/refresh", {"refresh_token": phone.session["refresh_token"]})
    phone.session = answer.json()["session"]

    codes = [phone.get("get-user-credits").status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]


def test_tier_without_a_limit_of_its_own_uses_the_default(phone, limits):
    limits(export_per_user=1)
    account_services.set_tier(user_id=phone.user_id, tier=Tier.PREMIUM, until=None)
    answer = phone.post("auth/refresh", {"refresh_token": phone.session["refresh_token"]})
    phone.session = answer.json()["session"]

    assert [phone.get("export-user-data").status_code for _ in range(2)] == [200, 429]


def test_concurrent_calls_pass_up_to_the_limit(committed, sandbox, limits):
    phone = Phone().sign_in()
    limits(default_per_user=5)
    phones = [Phone() for _ in range(8)]
    for one in phones:
        one.session = phone.session

    answers = at_once(*[partial(one.get, "get-user-credits") for one in phones])

    passed = [answer for answer in answers if answer.status_code == 200]
    left = sorted(limit_headers(answer)["Remaining"] for answer in passed)
    assert left == [0, 1, 2, 3, 4]
    assert {answer.status_code for answer in answers if answer not in passed} == {429}


def test_first_checks_are_counted_by_address(db, sandbox, limits):
    limits(first_check_per_ip=1)
    assert limit_headers(Phone().post("device-check", Phone().check_body))["Remaining"] == 0

    assert_refused(Phone().post("device-check", Phone().check_body), 429, "ERR_4004")


# --- Whose address ----------------------------------------------------------------------------


def address(remote, forwarded=None):
    headers = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    return ratelimit.client_ip(RequestFactory().get("/", REMOTE_ADDR=remote, headers=headers))


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # what the client claims itself
        (2, "203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "10.9.9.9, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "198.51.100.7", "192.0.2.1"),  # fewer than there must be: not through our proxies
        (1, "", "192.0.2.1"),
        (1, None, "192.0.2.1"),
        (1, "not an address", "unknown"),
        (1, "198.51.100.7:40001", "198.51.100.7"),
        (1, "203.0.113.9:1, 198.51.100.7:40001", "198.51.100.7"),
        (1, "2001:db8:1:2::1", "2001:db8:1:2::"),
        (1, "[2001:db8:1:2::1]", "2001:db8:1:2::"),
        (1, "[2001:db8:1:2::1]:443", "2001:db8:1:2::"),
        (1, "[::ffff:198.51.100.7]:443", "198.51.100.7"),
        (1, "198.51.100.7:port", "unknown"),
        (1, "[2001:db8::1", "2001:db8::"),
        (1, "unknown", "unknown"),
    ],
)
def test_forwarded_addresses_count_only_behind_our_own_proxies(
    settings, proxies, forwarded, expected
):
    settings.TRUSTED_PROXIES = proxies

    assert address("192.0.2.1", forwarded) == expected


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (1, "for=198.51.100.7", "198.51.100.7"),
        (1, 'For="198.51.100.7:40001";proto=https;by=10.0.0.1', "198.51.100.7"),
        (1, 'proto=https;FOR="[2001:db8:1:2::17]:4711"', "2001:db8:1:2::"),
        (1, "for=[2001:db8:1:2::17]:4711", "2001:db8:1:2::"),  # no quotes, as some proxies do
        (1, "for=203.0.113.9, for=198.51.100.7;host=api.example.com", "198.51.100.7"),
        (2, "for=10.9.9.9,for=203.0.113.9 , for=198.51.100.7", "203.0.113.9"),
        (2, "for=198.51.100.7", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "for=unknown", "unknown"),
        (1, "for=_hidden", "unknown"),
        (1, "by=203.0.113.43", "unknown"),
        # What callers send to be counted as others.
        (1, 'for="203.0.113.9, for=198.51.100.7', "198.51.100.7"),
        (1, 'for="203.0.113.9, for="198.51.100.7"', "198.51.100.7"),
        (1, 'for=203.0.113.9;x="\\, for=198.51.100.7', "198.51.100.7"),
        (1, f"{'for=203.0.113.9,' * 1000}for=198.51.100.7", "198.51.100.7"),
        (1, 'host="a, b";for=198.51.100.7', "198.51.100.7"),
        (1, "for=198.51.100.7;;for", "192.0.2.1"),  # not a Forwarded header
    ],
)
def test_forwarded_of_rfc_7239_counts_where_our_proxies_send_it(
    settings, proxies, forwarded, expected
):
    settings.TRUSTED_PROXIES = proxies
    settings.FORWARDED_HEADER = "Forwarded"
    request = RequestFactory().get(
        "/",
        REMOTE_ADDR="192.0.2.1",
        headers={"Forwarded": forwarded, "X-Forwarded-For": "203.0.113.200"},
    )

    assert ratelimit.client_ip(request) == expected


def test_forwarded_header_of_the_caller_is_ignored(settings):
    settings.TRUSTED_PROXIES = 1
    request = RequestFactory().get(
        "/",
        REMOTE_ADDR="192.0.2.1",
        headers={"Forwarded": "for=203.0.113.9", "X-Forwarded-For": "198.51.100.7"},
    )

    assert ratelimit.client_ip(request) == "198.51.100.7"


@pytest.mark.parametrize(("told", "secure"), [("https", True), ("HTTPS", True), ("http", False)])
def test_forwarded_header_states_https(settings, told, secure):
    settings.TRUSTED_PROXIES = 1
    settings.FORWARDED_HEADER = "Forwarded"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    seen = []
    middleware = ForwardedMiddleware(lambda request: seen.append(request.is_secure()))
    header = f"for=203.0.113.9;proto=https, for=198.51.100.7;proto={told}"

    middleware(RequestFactory().get("/", headers={"Forwarded": header}))
    # What a caller says of itself is not believed.
    middleware(RequestFactory().get("/", headers={"X-Forwarded-Proto": "https"}))

    assert seen == [secure, False]


@pytest.mark.parametrize(
    ("forwarded", "warned"),
    [("nonsense", True), ("198.51.100.7", False), ("198.51.100.7:40001", False)],
)
def test_shared_limit_is_logged_once(settings, caplog, forwarded, warned):
    settings.TRUSTED_PROXIES = 1
    forwarded_headers._warn_once.cache_clear()

    for _ in range(3):
        address("192.0.2.1", forwarded)

    assert caplog.text.count("callers_address_unknown") == int(warned)


def test_ipv6_callers_are_counted_by_network():
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9")
    assert address("2001:db8:1:2::1") != address("2001:db8:1:3::1")


def test_ipv4_callers_at_a_dual_stack_socket_are_counted_separately():
    assert address("::ffff:192.0.2.1") == address("192.0.2.1")
    assert address("::ffff:192.0.2.1") != address("::ffff:192.0.2.2")


# --- Redis gone -------------------------------------------------------------------------------


def test_generation_succeeds_without_redis(phone, limits, redis_at, closed_port):
    limits(generation_hour_per_user=1, generation_minute_per_user=1, default_per_user=1)
    redis_at(f"redis://127.0.0.1:{closed_port}/0")

    answers = [phone.generate(), phone.generate()]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert phone.balance() == 2


def test_purchase_is_deferred_without_redis(phone, limits, redis_at, closed_port):
    """Without a count, ids of purchases that name nobody could be guessed."""
    limits(purchases_per_user=30)
    redis_at(f"redis://127.0.0.1:{closed_port}/0")

    answer = phone.post("update-credits", {"transaction_id": "2000000999999999"})

    assert_refused(answer, 503, "ERR_5005")
    assert "Retry-After" in answer.headers


# What is open while nothing is counted, and what is not (docs/decisions/0003-rate-limits.md).
WITHOUT_REDIS = {
    "device-check": 503,
    "attest-challenge": 200,
    "attest-device": 503,
    "merge-guest-to-user": 503,
    "update-credits": 503,
    "redeem-code": 503,
    "auth/refresh": 400,
    "quote-video": 400,
    "cancel-video-job": 400,
    "upload-image": 415,
}


def test_sign_in_and_purchase_are_refused_without_redis(phone, limits, redis_at, closed_port):
    limits(**dict.fromkeys(settings.RATE_LIMITS, 100))
    redis_at(f"redis://127.0.0.1:{closed_port}/0")

    bodies = {
        "device-check": phone.check_body,
        "attest-challenge": {"device_id": phone.device_id},
        "attest-device": {
            "device_id": phone.device_id,
            "installation_secret": phone.installation_secret,
            "key_id": base64.b64encode(bytes(32)).decode(),
            "challenge": "x",
            "attestation": base64.b64encode(b"x").decode(),
        },
        "redeem-code": {"code": "SUMMER25"},
    }
    answers = {path: phone.post(path, bodies.get(path, {})) for path in WITHOUT_REDIS}

    assert {path: answer.status_code for path, answer in answers.items()} == WITHOUT_REDIS
    for path, status in WITHOUT_REDIS.items():
        error = answers[path].json().get("error", {"code": "ERR_4"})
        assert (status == 503) == (error["code"][:5] != "ERR_4"), path
        assert (status == 503) == ("Retry-After" in answers[path].headers), path
    assert phone.get("get-user-credits").status_code == 200


def test_hanging_redis_delays_only_one_request(phone, limits, redis_at):
    """One connection and no second try: what it costs is one time-out, which is in the settings."""
    limits(generation_hour_per_user=1, generation_minute_per_user=1)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hanging.settimeout(0.2)
        redis_at(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0")

        answers = [phone.generate(), phone.generate()]

        hanging.accept()[0].close()
        with pytest.raises(TimeoutError):
            hanging.accept()
    assert [answer.status_code for answer in answers] == [200, 200]


def test_redis_that_closed_the_connection_is_asked_again_in_the_same_call(limits):
    limits(default_per_user=5)
    assert ratelimit.count({"default_per_user": "a"}).remaining == 4
    counters = ratelimit._redis()

    counters.client_kill_filter(_type="normal", skipme=True)

    assert ratelimit.count({"default_per_user": "a"}).remaining == 3


@pytest.mark.parametrize("reply", [b"-LOADING the dataset\r\n", b"+OK\r\n", b"$-1\r\n", b"*1\r\n"])
def test_replies_that_are_no_counts_are_an_unavailable_limiter(limits, redis_at, reply):
    limits(default_per_user=5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=reply_to_all, args=(server, reply), daemon=True).start()
        redis_at(f"redis://127.0.0.1:{server.getsockname()[1]}/0?protocol=2")

        with pytest.raises(ratelimit.LimiterUnavailable):
            ratelimit.count({"default_per_user": "a"})


def reply_to_all(server, reply):
    """Accept what a connection begins with, and reply this to all else."""
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            while received := client.recv(4096):
                counts = received.count(b"INCR") + received.count(b"EXPIRE")
                client.sendall(reply * counts or b"+OK\r\n" * received.count(b"*"))


# --- Webhooks with a false signature ----------------------------------------------------------


@pytest.fixture
def relay(settings):
    """Calls our webhook of a provider that shares a secret with us, signed with this one."""
    secret = "a secret that we share with a relay"
    providers = settings.PROVIDERS
    access = replace(providers["runway"], webhook_secrets=[secret])
    settings.PROVIDERS = providers | {"runway": access}

    def call(*, signed_with=secret):
        signature = hmac.new(signed_with.encode(), b"{}", hashlib.sha256).hexdigest()
        return Client().post(
            "/webhooks/runway",
            b"{}",
            content_type="application/json",
            headers={"X-Webhook-Signature": signature},
        )

    return call


def test_false_signatures_are_counted_by_address_over_all_webhooks(db, relay, limits, caplog):
    limits(forgeries_per_ip=3)
    apple = [
        Client().post(f"/webhooks/{path}", body, content_type="application/json")
        for path, body in (
            ("app-store", {"signedPayload": "e30.e30.e30"}),
            ("apple-id", {"payload": "e30.e30.e30"}),
        )
    ]
    assert [answer.status_code for answer in [*apple, relay(signed_with="x")]] == [401, 401, 401]
    caplog.clear()

    refused = relay(signed_with="x")

    assert_refused(refused, 429, "ERR_4004")
    assert int(refused["Retry-After"]) > 0
    assert "webhook_refused" not in caplog.text


def test_false_signature_is_401_without_redis(db, relay, limits, redis_at, closed_port):
    limits(forgeries_per_ip=1)
    redis_at(f"redis://127.0.0.1:{closed_port}/0")

    assert [relay(signed_with="x").status_code for _ in range(2)] == [401, 401]
    assert relay().status_code == 200
