"""Rate limit and lockout of the staff sign-in, which works without Redis."""

from __future__ import annotations

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.adminops.conftest import PASSWORD, staff_user


@pytest.fixture
def sign_in(db):
    staff_user("sam")

    def attempt(password=PASSWORD, **extra):
        body = {"username": "sam", "password": password}
        return Client().post(reverse("admin:login"), body, **extra)

    return attempt


def test_sign_in_attempts_beyond_the_rate_get_a_429_page(sign_in, settings):
    settings.STAFF_LOGIN_RATE = "3/h"
    wrong = [sign_in("wrong") for _ in range(3)]

    right = sign_in()

    assert [answer.status_code for answer in wrong] == [200, 200, 200]
    assert right.status_code == 429
    assert "Too many attempts" in right.content.decode()
    assert int(right["Retry-After"]) > 0


def test_rate_limit_does_not_affect_another_address(sign_in, settings):
    settings.STAFF_LOGIN_RATE = "1/h"
    sign_in("wrong")

    assert sign_in().status_code == 429
    assert sign_in(REMOTE_ADDR="192.0.2.7").status_code == 302


def test_viewing_the_sign_in_page_costs_no_attempt(sign_in, settings):
    settings.STAFF_LOGIN_RATE = "1/h"
    for _ in range(3):
        assert Client().get(reverse("admin:login")).status_code == 200

    assert sign_in().status_code == 302


def test_empty_rate_disables_the_limit(sign_in, settings):
    settings.STAFF_LOGIN_RATE = ""

    assert sign_in().status_code == 302


def test_staff_sign_in_without_redis(sign_in, settings):
    counters = settings.CACHES["counters"] | {"LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = settings.CACHES | {"counters": counters}

    assert sign_in().status_code == 302
    assert sign_in("wrong").status_code == 200


# --- Failures of one name ---------------------------------------------------------------------


@pytest.fixture
def two_failures(settings):
    settings.AXES_FAILURE_LIMIT = 2


def test_failures_lock_a_username_out_from_one_address_only(sign_in, two_failures):
    assert [sign_in("wrong").status_code for _ in range(2)] == [200, 429]

    refused = sign_in()

    assert refused.status_code == 429
    assert "Too many attempts" in refused.content.decode()
    assert int(refused["Retry-After"]) == 15 * 60
    assert sign_in(REMOTE_ADDR="192.0.2.7").status_code == 302


def test_attempts_during_a_lockout_do_not_extend_it(sign_in, two_failures):
    for _ in range(5):
        sign_in("wrong")
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=14))
    assert sign_in().status_code == 429

    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=2))

    assert sign_in().status_code == 302


def test_lockout_uses_the_address_from_our_proxy(sign_in, two_failures, settings):
    settings.TRUSTED_PROXIES = 1
    for claimed in ("203.0.113.1", "203.0.113.2"):
        sign_in("wrong", headers={"X-Forwarded-For": f"{claimed}, 198.51.100.7"})

    assert sign_in(headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 429
    assert sign_in(headers={"X-Forwarded-For": "198.51.100.8"}).status_code == 302


def test_invalid_username_counts_as_a_failure(sign_in, settings):
    settings.TRUSTED_PROXIES = 1

    for name in ("n" * 10_000, "sam\0", "", "🎈"):
        answer = Client().post(
            reverse("admin:login"),
            {"username": name, "password": "p" * 10_000},
            headers={"X-Forwarded-For": "no address", "User-Agent": "u" * 10_000},
        )
        assert answer.status_code == 200, name


def test_failed_attempt_stores_the_username_only(sign_in):
    sign_in("my-other-password")

    kept = AccessAttempt.objects.values().get()
    assert "my-other-password" not in str(kept)
