"""The expiry dates that the phone sees."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from credits import queries, services
from credits.services import Source
from rendio.common.times import iso


@pytest.fixture
def promote(phone):
    now = timezone.now()

    def grant(amount, *, days, source=Source.PROMOTION):
        expires_at = now + timedelta(days=days) if days else None
        services.grant(
            user_id=phone.user_id,
            amount=amount,
            source=source,
            reason="test",
            now=now,
            expires_at=expires_at,
        )
        return iso(expires_at)

    return grant


def test_expiring_credits_are_listed_earliest_first_without_those_that_never_expire(phone, promote):
    later, soon = promote(5, days=9), promote(3, days=2)
    promote(4, days=9, source=Source.SUBSCRIPTION)
    promote(50, days=None)

    body = phone.get("get-user-credits").json()

    assert body == {
        "credits_remaining": 10 + 5 + 3 + 4 + 50,
        "credits_total": 72,
        "expiring": [
            {"credits": 3, "expires_at": soon},
            {"credits": 9, "expires_at": later},
        ],
    }


def test_spent_credits_are_not_listed_as_expiring(phone, promote):
    promote(3, days=2)
    later = promote(5, days=9)

    phone.generate()  # 4 credits

    assert phone.get("credits/balance").json()["expiring"] == [{"credits": 4, "expires_at": later}]


def test_the_number_of_expiry_dates_is_limited(phone, promote):
    days = range(1, queries.MAX_EXPIRY_DATES + 5)
    moments = [promote(1, days=day) for day in reversed(days)][::-1]

    body = phone.get("get-user-credits").json()["expiring"]

    assert [one["expires_at"] for one in body] == moments[: queries.MAX_EXPIRY_DATES]


def test_expiry_dates_take_one_query(phone, promote, django_assert_num_queries):
    promote(3, days=2)

    with django_assert_num_queries(1):
        assert phone.get("get-user-credits").status_code == 200
