"""The circuit breaker: no submissions while open, then one probe."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from generation.catalogue import cache
from generation.models import Breaker, Job, ProviderHealth, ProviderRequest, ProviderRoute, Stage
from rendio.common.keyring import KeyRing
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import (
    Life,
    assert_completed,
    assert_refunded,
    grant,
    ordered,
    submissions,
    turn,
)
from tests.helpers.model_ids import SORA, VEO
from tests.helpers.phone import assert_refused

TROUBLES = ["submit_500", "submit_503", "submit_lost", "submit_429", "submit_403_balance"]


@pytest.fixture(autouse=True)
def _soon(settings):
    settings.BREAKER_FAILURES = 3


def health() -> ProviderHealth:
    return ProviderHealth.objects.get(provider="fal")


def open_breaker(phone, sandbox, life, *, outcome="submit_500") -> list[Job]:
    """Three jobs that fail at the provider."""
    sandbox.provider(outcome=outcome)
    jobs = [ordered(phone) for _ in range(3)]
    for _ in jobs:
        # One after the other: a 429 makes the rest wait.
        life.later(2).submit()
    assert health().state == Breaker.OPEN
    # What a process that serves knows some seconds later.
    cache.invalidate()
    return jobs


@pytest.fixture
def rich(phone):
    grant(phone.user_id, 200)
    return phone


@pytest.mark.parametrize("outcome", TROUBLES)
def test_troubles_of_the_provider_open_it_and_intake_refuses(rich, quick, life, outcome):
    open_breaker(rich, quick, life, outcome=outcome)
    before, until, asked_at = rich.balance(), health().open_until, timezone.now()

    refused = rich.generate()

    assert_refused(refused, 503, "ERR_5002")
    least, most = ((until - at).total_seconds() for at in (timezone.now(), asked_at))
    assert max(least, 1) <= int(refused.headers["Retry-After"]) <= min(most + 1, 60)
    assert rich.balance() == before


@pytest.mark.parametrize("outcome", ["content_policy", "invalid_input", "error", "hang"])
def test_what_is_wrong_with_one_job_never_opens_it(rich, quick, life, outcome):
    quick.provider(outcome=outcome)
    for _ in range(5):
        job = ordered(rich)
        life.goes_on(job)

    assert (health().state, health().failures) == (Breaker.CLOSED, 0)


def test_an_input_that_is_refused_at_once_counts_as_an_answer(rich, canned, life, settings):
    """fal accepts every input at submission; other providers do not."""
    turn(settings, "fal", url=canned.url)
    canned.otherwise = (422, {}, b'{"detail": "no"}')

    for _ in range(5):
        life.goes_on(ordered(rich))

    assert (health().state, health().failures) == (Breaker.CLOSED, 0)


def test_successes_make_up_for_failures(rich, quick, life):
    for outcome in ["submit_500", "ok", "submit_500", "ok", "submit_500", "ok"]:
        quick.provider(outcome=outcome, times=1)
        ordered(rich)
        life.later(2).submit()

    assert (health().state, health().failures) == (Breaker.CLOSED, 0)


def test_failures_of_long_ago_do_not_count(rich, quick, life):
    quick.provider(outcome="submit_500")
    for _ in range(4):
        ordered(rich)
        life.submit()
        life.later(50)

    assert health().state == Breaker.CLOSED


def test_while_it_is_open_nothing_is_sent_and_what_runs_goes_on(rich, quick, life):
    running = ordered(rich)
    life.submit()
    open_breaker(rich, quick, life)
    sent = len(submissions(quick))
    life.goes_on(running)

    assert_completed(running)
    assert len(submissions(quick)) == sent


def order_waiting_jobs(rich, quick, life, count=4) -> list[Job]:
    """Jobs that were ordered just before the provider failed."""
    jobs = [ordered(rich) for _ in range(count)]
    Job.objects.filter(id__in=[job.id for job in jobs]).update(
        due_at=life.now + timedelta(seconds=15)
    )
    return jobs


def test_after_a_while_one_request_tries_and_its_success_closes_it(rich, quick, life):
    waiting = order_waiting_jobs(rich, quick, life)
    open_breaker(rich, quick, life)
    sent = len(submissions(quick))
    quick.provider(outcome="ok")

    life.later(20).submit()
    assert len(submissions(quick)) == sent
    life.later(11).submit()
    assert len(submissions(quick)) == sent + 1
    assert health().state == Breaker.CLOSED
    life.later(1).submit()

    assert len(submissions(quick)) == sent + len(waiting)
    cache.invalidate()
    assert rich.generate().status_code == 200


def test_a_probe_that_fails_opens_it_again(rich, quick, life):
    order_waiting_jobs(rich, quick, life)
    open_breaker(rich, quick, life)
    sent = len(submissions(quick))

    life.later(31).submit()
    life.later(1).submit()

    assert health().state == Breaker.OPEN
    assert len(submissions(quick)) == sent + 1
    assert health().open_until > life.now + timedelta(seconds=25)


def test_a_probe_whose_worker_died_is_followed_by_another(rich, quick, life):
    order_waiting_jobs(rich, quick, life)
    open_breaker(rich, quick, life)
    quick.provider(outcome="ok")
    sent = len(submissions(quick))
    ProviderHealth.objects.update(
        state=Breaker.HALF_OPEN, probe_id=ProviderRequest.objects.first().id,
        open_until=life.now + timedelta(seconds=100),
    )  # fmt: skip

    life.later(60).submit()
    assert len(submissions(quick)) == sent
    life.later(41).submit()

    assert len(submissions(quick)) == sent + 1
    assert health().state == Breaker.CLOSED


def test_a_job_that_cannot_be_sent_is_no_probe(rich, quick, life):
    (spoilt,) = order_waiting_jobs(rich, quick, life, count=1)
    open_breaker(rich, quick, life)
    ProviderRoute.objects.filter(model_id=SORA).update(
        parameters={"prompt": {"name": "prompt", "format": "{nothing}"}}
    )
    cache.invalidate()

    life.later(31).submit()

    assert (health().state, health().probe_id) == (Breaker.OPEN, None)
    assert_refunded(spoilt, code="ERR_5002")


def test_among_several_workers_one_probe_goes(guest, quick, settings):
    settings.JOBS_AT_ONCE = {"free": 100}
    # Intake of this process would refuse.
    jobs = [ordered(guest) for _ in range(6)]
    quick.provider(outcome="submit_500", times=1)
    ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN,
        open_until=timezone.now() - timedelta(seconds=1),
    )  # fmt: skip
    life = Life()

    at_once(*[life.submit] * 4)

    assert len(submissions(quick)) == 1
    assert health().state == Breaker.OPEN
    for job in jobs:
        life.goes_on(job)


def test_another_key_goes_on_where_one_is_shut(rich, quick, life, settings):
    keys = KeyRing({"default": "sandbox-id:sandbox-secret", "spare": "sandbox-id:other-secret"})
    turn(settings, "fal", keys=keys)
    ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN,
        open_until=life.now + timedelta(seconds=600),
    )  # fmt: skip
    cache.invalidate()

    jobs = [ordered(rich) for _ in range(3)]
    for job in jobs:
        life.goes_on(job)
        assert_completed(job)

    used = ProviderRequest.objects.values_list("key_label", flat=True)
    assert set(used) == {"spare"}


def test_another_provider_takes_over_where_one_is_shut(rich, quick, life):
    """Veo has a route at Runway too, Sora only at fal."""
    quick.control("provider", provider="runway", queue_seconds=0, run_seconds=0)
    ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN,
        open_until=life.now + timedelta(seconds=600),
    )  # fmt: skip
    cache.invalidate()

    job = ordered(rich, model_id=str(VEO))
    life.goes_on(job)

    assert_completed(job)
    assert ProviderRequest.objects.get(job=job).provider == "runway"
    assert submissions(quick) == []
    assert_refused(rich.generate(model_id=str(SORA)), 503, "ERR_5002")


def test_what_waits_for_a_provider_that_stays_down_is_refunded_at_its_deadline(
    rich, quick, life, settings
):
    settings.BREAKER_OPEN_SECONDS = 600
    (waiting,) = order_waiting_jobs(rich, quick, life, count=1)
    open_breaker(rich, quick, life)

    while waiting.stage == Stage.SUBMIT:
        life.later(5).submit()
        waiting.refresh_from_db()

    assert_refunded(waiting, code="ERR_5002")
    assert 100 < (life.now - waiting.created_at).total_seconds() < 130


# --- How much, how fast -------------------------------------------------------------------------


def test_no_more_are_sent_than_the_provider_takes_at_once(rich, quick, life, settings):
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 2}
    quick.provider(run_seconds=600, cancel_running=True)
    jobs = [ordered(rich) for _ in range(5)]

    life.submit()
    life.later(5).submit()
    assert len(submissions(quick)) == 2

    rich.post("cancel-video-job", {"job_id": str(jobs[0].id)})
    life.later(1).submit()
    assert len(submissions(quick)) == 3


def test_several_workers_together_keep_to_the_limit(guest, quick, settings):
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 3}
    jobs = [ordered(guest) for _ in range(8)]
    life = Life()

    at_once(*[life.submit] * 4)

    assert len(submissions(quick)) == 3
    for job in jobs:
        life.goes_on(job)
        assert_completed(job)


def test_waiting_for_room_is_not_failing(rich, quick, life, settings):
    """The wait may exceed the submit deadline, but has a limit."""
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 1}
    settings.JOB_RUN_DEADLINE_SECONDS = 10_000
    quick.provider(run_seconds=80_000)
    ordered(rich)
    life.submit()
    job = ordered(rich)
    for _ in range(20):
        life.later(50).submit()
        job.refresh_from_db()
        assert job.stage == Stage.SUBMIT

    while job.stage == Stage.SUBMIT:
        life.later(50).submit()
        job.refresh_from_db()

    assert_refunded(job, code="ERR_5002")
    assert 1800 <= (life.now - job.created_at).total_seconds() < 2000


def test_who_asks_us_to_wait_is_left_alone_for_so_long(rich, quick, life, canned, settings):
    turn(settings, "fal", url=canned.url)
    canned.say(429, {"detail": "slow down"}, Retry_After="40")
    ordered(rich)
    life.submit()
    ordered(rich)

    life.later(30).submit()
    assert len(canned.asked) == 1
    life.later(12).submit()

    assert len(canned.asked) == 3
