"""The staff's sign-in takes so many attempts from one address, and works without Redis."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.adminops.conftest import PASSWORD, staff_user


@pytest.fixture
def sign_in(db):
    staff_user("sam")

    def attempt(password=PASSWORD, **extra):
        return Client().post(
            reverse("admin:login"), {"username": "sam", "password": password}, **extra
        )

    return attempt


def test_attempts_beyond_the_rate_are_refused_with_a_page(sign_in, settings):
    settings.STAFF_LOGIN_RATE = "3/h"
    wrong = [sign_in("wrong") for _ in range(3)]

    right = sign_in()

    assert [answer.status_code for answer in wrong] == [200, 200, 200]
    assert right.status_code == 429
    assert "Too many attempts" in right.content.decode()
    assert int(right["Retry-After"]) > 0


def test_another_address_is_not_held_up(sign_in, settings):
    settings.STAFF_LOGIN_RATE = "1/h"
    sign_in("wrong")

    assert sign_in().status_code == 429
    assert sign_in(REMOTE_ADDR="192.0.2.7").status_code == 302


def test_looking_at_the_page_costs_no_attempt(sign_in, settings):
    settings.STAFF_LOGIN_RATE = "1/h"
    for _ in range(3):
        assert Client().get(reverse("admin:login")).status_code == 200

    assert sign_in().status_code == 302


def test_an_empty_rate_switches_it_off(sign_in, settings):
    settings.STAFF_LOGIN_RATE = ""

    assert sign_in().status_code == 302


def test_without_redis_staff_still_sign_in(sign_in, settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"socket_connect_timeout": 0.3},
        }
    }

    assert sign_in().status_code == 302
    assert sign_in("wrong").status_code == 200
