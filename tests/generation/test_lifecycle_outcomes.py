"""The end of a job for each outcome at the provider, by polling alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from generation.catalogue import cache
from generation.models import ProviderRequest, RequestState
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    create_job,
    status_polls,
    submissions,
)

REJECTED, TIMEOUT, UNAVAILABLE = "ERR_5003", "ERR_5001", "ERR_5002"
# The deadlines in seconds as they are set by default: one of each kind.
DEADLINES = {"submit_500": 120, "hang": 600, "result_404": 1800}


@pytest.fixture(autouse=True)
def _short(settings, no_long_wait):
    settings.MAX_VIDEO_BYTES = 3_000_000


@pytest.mark.parametrize("outcome", ["ok", "status_unknown", "media_redirect"])
def test_it_completes(phone, instant_provider, life, outcome):
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert len(submissions(instant_provider)) == 1
    assert len(status_polls(instant_provider)) <= 2
    assert phone.balance() == 6


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("error", UNAVAILABLE),
        ("aborted", UNAVAILABLE),
        ("content_policy", REJECTED),
        ("invalid_input", REJECTED),
        ("hang", TIMEOUT),
        ("submit_500", TIMEOUT),
        ("submit_503", TIMEOUT),
        ("submit_timeout", TIMEOUT),
        ("submit_lost", TIMEOUT),
        ("status_500", TIMEOUT),
        ("result_500", TIMEOUT),
        ("result_404", TIMEOUT),
        ("result_odd", UNAVAILABLE),
        ("media_404", UNAVAILABLE),
        ("media_truncated", UNAVAILABLE),
        ("media_huge", UNAVAILABLE),
        ("media_not_video", UNAVAILABLE),
    ],
)
def test_it_fails_and_the_credits_come_back(phone, instant_provider, life, settings, outcome, code):
    if outcome not in DEADLINES:
        settings.JOB_RUN_DEADLINE_SECONDS = settings.JOB_STORE_DEADLINE_SECONDS = 120
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code=code)
    assert len(submissions(instant_provider)) == 1
    seconds = (life.now - job.created_at).total_seconds()
    if deadline := DEADLINES.get(outcome):
        assert deadline <= seconds <= deadline + 45
    # The backoff's first steps, and then two a minute.
    assert len(status_polls(instant_provider)) <= seconds / 30 + 10
    assert phone.balance() == 10
    error = phone.get("get-video-status", job_id=job.id).json()["error"]
    assert error["code"] == code


@pytest.mark.parametrize("outcome", ["submit_403_balance", "submit_429"])
def test_a_refusal_that_is_not_the_customers_fault_is_waited_out(
    phone, instant_provider, life, outcome
):
    instant_provider.provider(outcome=outcome, times=2)
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert [asked["answered"] // 100 for asked in submissions(instant_provider)] == [4, 4, 2]
    assert len(instant_provider.jobs()) == 1


@pytest.mark.parametrize("outcome", ["submit_403_balance", "submit_429"])
def test_one_that_lasts_ends_at_the_submit_deadline(phone, instant_provider, life, outcome):
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code=UNAVAILABLE)
    assert (life.now - job.created_at).total_seconds() <= 125
    assert instant_provider.jobs() == []
    states = ProviderRequest.objects.filter(job=job).values_list("state", flat=True)
    assert set(states) == {RequestState.DEFERRED}


def test_a_models_own_run_deadline_is_kept_after_it_was_taken_off_sale(
    phone, instant_provider, life
):
    instant_provider.provider(outcome="hang")
    job = create_job(phone)
    job.model.run_deadline_seconds = 60
    job.model.is_available = False
    job.model.save()
    cache.invalidate()

    life.run_until_done(job)

    assert 60 <= (life.now - job.created_at).total_seconds() <= 100


def test_nothing_is_looked_at_more_often_than_the_backoff_says(phone, instant_provider, life):
    instant_provider.provider(outcome="hang")
    job = create_job(phone)

    moments = [life.now]
    life.run_until_done(job, until=lambda job: len(status_polls(instant_provider)) >= 1)
    while len(moments) < 7:
        job.refresh_from_db()
        moments.append(job.due_at)
        life.now = job.due_at
        life.poll()

    gaps = [round((after - before).total_seconds()) for before, after in pairwise(moments[1:])]
    assert gaps == [8, 16, 30, 30, 30]
