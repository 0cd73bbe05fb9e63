"""Request limits: what a client is told, who is counted together, and that Redis may be gone."""

from __future__ import annotations

import socket
import time

import pytest
from django.test import Client, RequestFactory

from rendio.common import ratelimit
from tests.conftest import Phone, assert_refused


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


def test_answers_say_what_is_left(phone, limits):
    limits(default_per_user=3)

    first, second = phone.get("get-user-credits"), phone.get("get-user-credits")

    assert limit_headers(first) | {"Reset": 0} == {"Limit": 3, "Remaining": 2, "Reset": 0}
    assert limit_headers(second)["Remaining"] == 1
    assert 0 < limit_headers(first)["Reset"] - time.time() <= 3600


def test_beyond_the_limit_it_is_429_with_when_to_come_back(phone, limits):
    limits(default_per_user=2)
    assert [phone.get("get-user-credits").status_code for _ in range(2)] == [200, 200]

    refused = phone.get("get-user-credits")

    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (429, "ERR_4004", "RATE_LIMITED")
    assert error["details"] == {"retry_after": int(refused.headers["Retry-After"])}
    assert 0 < error["details"]["retry_after"] <= 3600
    assert limit_headers(refused)["Remaining"] == 0


def test_users_are_counted_apart(phone, limits):
    limits(default_per_user=1)
    assert phone.get("get-user-credits").status_code == 200
    assert phone.get("get-user-credits").status_code == 429

    assert Phone().sign_in().get("get-user-credits").status_code == 200


def test_generations_are_counted_by_address_whoever_asks(phone, limits):
    limits(generation_per_ip=2)
    other = Phone().sign_in()

    codes = [asked.generate().status_code for asked in (phone, other, phone, other)]

    assert codes == [200, 200, 429, 429]


def test_generations_are_counted_by_user_wherever_they_come_from(phone, limits, settings):
    limits(generation_per_user=1)
    settings.TRUSTED_PROXIES = 1

    def generate_from(address):
        return phone.post(
            "generate-video", {"prompt": "A balloon"}, X_Forwarded_For=address,
            Idempotency_Key="5b0f0d5e-0000-4000-8000-00000000000a",
        )  # fmt: skip

    assert generate_from("192.0.2.1").status_code == 200
    assert generate_from("192.0.2.2").status_code == 429


def test_a_refused_generation_costs_nothing_and_its_key_is_free(phone, limits):
    limits(generation_per_user=1)
    assert phone.generate().status_code == 200
    key = "5b0f0d5e-0000-4000-8000-00000000000b"
    assert phone.generate(key=key).status_code == 429
    assert phone.balance() == 6

    limits(generation_per_user=0)
    assert phone.generate(key=key).status_code == 200
    assert phone.balance() == 2


def test_zero_switches_a_limit_off_and_its_headers_with_it(phone, limits):
    limits(default_per_user=0)

    answers = [phone.get("get-user-credits") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert not any("X-RateLimit-Limit" in answer.headers for answer in answers)


def test_the_tightest_of_two_limits_is_shown(phone, limits):
    limits(generation_per_ip=10, generation_per_user=3)
    assert limit_headers(phone.generate())["Limit"] == 3

    limits(generation_per_ip=2, generation_per_user=30)
    assert limit_headers(phone.generate())["Limit"] == 2


def test_device_checks_are_counted_by_address(db, sandbox, limits):
    limits(device_check_per_ip=1)
    Phone().sign_in()

    refused = Client().post("/v1/device-check", {}, content_type="application/json")

    assert refused.status_code == 429


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
    ],
)
def test_forwarded_addresses_count_only_behind_our_own_proxies(
    settings, proxies, forwarded, expected
):
    settings.TRUSTED_PROXIES = proxies

    assert address("192.0.2.1", forwarded) == expected


def test_one_household_of_ipv6_counts_as_one_and_two_as_two():
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9")
    assert address("2001:db8:1:2::1") != address("2001:db8:1:3::1")


def test_ipv4_callers_at_a_dual_stack_socket_are_told_apart():
    assert address("::ffff:192.0.2.1") == address("192.0.2.1")
    assert address("::ffff:192.0.2.1") != address("::ffff:192.0.2.2")


# --- Redis gone -------------------------------------------------------------------------------


def test_with_redis_gone_a_generation_goes_through(phone, limits, redis_at, closed_port):
    limits(generation_per_ip=1, generation_per_user=1, default_per_user=1)
    redis_at(f"redis://127.0.0.1:{closed_port}/0")

    answers = [phone.generate(), phone.generate()]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert phone.balance() == 2


def test_with_redis_gone_a_purchase_is_put_off(phone, limits, redis_at, closed_port):
    """Without a count, ids of purchases that name nobody could be guessed."""
    limits(purchases_per_user=30)
    redis_at(f"redis://127.0.0.1:{closed_port}/0")

    answer = phone.post("update-credits", {"transaction_id": "2000000999999999"})

    assert_refused(answer, 503, "ERR_5005")
    assert "Retry-After" in answer.headers


def test_with_redis_hanging_a_request_waits_for_it_once(phone, limits, redis_at):
    """One connection and no second try: what it costs is one time-out, which is in the settings."""
    limits(generation_per_ip=1, generation_per_user=1)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hanging.settimeout(0.2)
        redis_at(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0")

        answer = phone.generate()

        hanging.accept()[0].close()
        with pytest.raises(TimeoutError):
            hanging.accept()
    assert answer.status_code == 200
