"""Spend caps: a provider at its cap gets no submissions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from generation import spend
from generation.catalogue import cache
from generation.models import Job, ProviderRequest, SpendDay, Stage
from generation.spend import Period
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job, submissions
from tests.helpers.model_ids import SORA, VEO
from tests.helpers.phone import assert_refused


@pytest.fixture
def cap(settings):
    def cap(period="day", **usd):
        settings.PROVIDER_SPEND_CAPS = {
            "day": {},
            "month": {},
            period: {name: Decimal(amount) for name, amount in usd.items()},
        }
        cache.invalidate()

    return cap


def cost(job) -> Decimal:
    return ProviderRequest.objects.get(job=job).cost_usd


def test_an_order_that_only_a_capped_provider_could_take_is_refused(
    phone, instant_provider, life, cap
):
    cap(fal="0.10")
    first = create_job(phone)
    life.run_until_done(first)  # the cap may be passed by one job
    cache.invalidate()

    refused = phone.generate(model_id=str(SORA))

    assert_refused(refused, 503, "ERR_5002")
    assert 0 < int(refused["Retry-After"]) <= 3660
    assert phone.balance() == 10 - first.credits
    cap(fal="100")
    assert phone.generate(model_id=str(SORA)).status_code == 200


def test_the_month_is_capped_like_the_day(phone, instant_provider, life, cap):
    life.run_until_done(create_job(phone))
    spend.rollup_daily_spend(now=life.now + timedelta(minutes=5))
    cap("month", fal="0.10")

    assert_refused(phone.generate(), 503, "ERR_5002")


def test_one_claim_sends_no_more_than_the_cap_has_left(phone, instant_provider, life, cap):
    for _ in range(2):
        create_job(phone)
    cap(fal="0.10")

    life.submit()

    assert len(submissions(instant_provider)) == 1
    waits = Job.objects.get(stage=Stage.SUBMIT)
    life.advance(130).run_until_done(waits)
    assert_refunded(waits, code="ERR_5002")
    assert len(submissions(instant_provider)) == 1


def test_what_a_capped_provider_does_not_get_another_makes(phone, sandbox, life, cap):
    """The first route of Veo 3.1 is at fal, the second at Runway."""
    for name in ("fal", "runway"):
        sandbox.provider(provider=name, queue_seconds=0, run_seconds=0, webhooks=False)
    cap(fal="0")

    job = create_job(phone, model_id=str(VEO), settings={"duration": 4})
    life.run_until_done(job)

    assert_completed(job)
    assert ProviderRequest.objects.get(job=job).provider == "runway"


def test_what_costs_nothing_in_the_end_does_not_count(phone, instant_provider, life, cap):
    instant_provider.provider(outcome="error", times=1)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert spend.spent_usd(now=life.now)["fal", Period.DAY] == 0


def test_counted_and_uncounted_make_the_whole(phone, instant_provider, life):
    first, second = create_job(phone), create_job(phone)
    life.submit()
    counted, uncounted = cost(first), cost(second)
    ProviderRequest.objects.filter(job=second).update(sent_at=life.now + timedelta(minutes=2))
    later = life.now + timedelta(minutes=3)

    before = spend.spent_usd(now=later)
    spend.rollup_daily_spend(now=life.now + timedelta(minutes=1))
    spend.rollup_daily_spend(now=life.now + timedelta(minutes=1))
    after = spend.spent_usd(now=later)

    assert before == after
    assert after["fal", Period.MONTH] == counted + uncounted > 0
    assert SpendDay.objects.get().usd == counted


def test_a_cost_that_changes_is_counted_within_an_hour(phone, instant_provider, life):
    early, late = create_job(phone), create_job(phone)
    life.submit()
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for job, hours in ((early, 0), (late, 3)):
        ProviderRequest.objects.filter(job=job).update(sent_at=noon + timedelta(hours=hours))

    def rolled_up(minutes, **costs):
        for job, cents in ((early, costs.get("early")), (late, costs.get("late"))):
            ProviderRequest.objects.filter(job=job, cost_usd__gt=0).update(cost_usd=cents)
        spend.rollup_daily_spend(now=noon + timedelta(minutes=minutes))
        return SpendDay.objects.get().usd

    assert rolled_up(61, early=1, late=10) == 1
    # The early one is old enough to be counted once an hour, the late one is counted each time.
    assert rolled_up(182, early=2, late=10) == 12
    assert rolled_up(183, early=3, late=20) == 22
    assert rolled_up(245, early=3, late=20) == 23
    # After midnight too, when the day's row is yesterday's.
    assert rolled_up(13 * 60, early=4, late=30) == 34


def test_a_new_day_begins_at_nothing_and_a_new_month_too(db):
    SpendDay.objects.create(
        provider="fal",
        date="2026-11-29",
        usd=7,
        counted_until=datetime(2026, 11, 30, tzinfo=UTC),
    )

    def spent(day, month=11):
        found = spend.spent_usd(now=datetime(2026, month, day, 12, tzinfo=UTC))
        return [found.get(("fal", period), 0) for period in Period]

    assert spent(29) == [7, 7]
    assert spent(30) == [0, 7]
    assert spent(1, month=12) == [0, 0]
    assert Period.MONTH.ends_at(datetime(2026, 12, 31, tzinfo=UTC)).year == 2027


def test_without_caps_nothing_is_asked(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert spend.remaining_usd(now=timezone.now()) == {}
