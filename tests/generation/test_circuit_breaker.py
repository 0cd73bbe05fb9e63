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
    JobDriver,
    assert_completed,
    assert_refunded,
    create_job,
    grant,
    override_provider,
    submissions,
)
from tests.helpers.model_ids import OWN_WAN, SORA, VEO
from tests.helpers.phone import assert_refused

pytestmark = pytest.mark.usefixtures("short_deadlines")

TROUBLES = ["submit_500", "submit_503", "submit_lost", "submit_429", "submit_403_balance"]


@pytest.fixture(autouse=True)
def _soon(settings):
    settings.BREAKER_FAILURES = 3


def health() -> ProviderHealth:
    return ProviderHealth.objects.get(provider="fal")


def open_breaker(phone, sandbox, life, *, outcome="submit_500") -> list[Job]:
    """Three jobs that fail at the provider."""
    sandbox.provider(outcome=outcome)
    jobs = [create_job(phone) for _ in range(3)]
    for _ in jobs:
        # One after the other: a 429 makes the rest wait.
        life.advance(2).submit()
    assert health().state == Breaker.OPEN
    # What a process that serves knows some seconds later.
    cache.invalidate()
    return jobs


@pytest.fixture
def rich(phone):
    grant(phone.user_id, 200)
    return phone


@pytest.mark.parametrize("outcome", TROUBLES)
def test_troubles_of_the_provider_open_it_and_intake_refuses(rich, instant_provider, life, outcome):
    open_breaker(rich, instant_provider, life, outcome=outcome)
    before, until, asked_at = rich.balance(), health().open_until, timezone.now()

    refused = rich.generate()

    assert_refused(refused, 503, "ERR_5002")
    least, most = ((until - at).total_seconds() for at in (timezone.now(), asked_at))
    assert max(least, 1) <= int(refused.headers["Retry-After"]) <= min(most + 1, 60)
    assert rich.balance() == before


@pytest.mark.parametrize("outcome", ["content_policy", "invalid_input", "error", "hang"])
def test_what_is_wrong_with_one_job_never_opens_it(rich, instant_provider, life, outcome):
    instant_provider.provider(outcome=outcome)
    for _ in range(3):
        job = create_job(rich)
        life.run_until_done(job)

    assert (health().state, health().failures) == (Breaker.CLOSED, 0)


def test_an_input_that_is_refused_at_once_counts_as_an_answer(rich, stub_server, life, settings):
    """fal accepts every input at submission; other providers do not."""
    override_provider(settings, "fal", url=stub_server.url)
    stub_server.otherwise = (422, {}, b'{"detail": "no"}')

    for _ in range(3):
        life.run_until_done(create_job(rich))

    assert (health().state, health().failures) == (Breaker.CLOSED, 0)


def test_successes_make_up_for_failures(rich, instant_provider, life):
    for outcome in ["submit_500", "ok", "submit_500", "ok", "submit_500", "ok"]:
        instant_provider.provider(outcome=outcome, times=1)
        create_job(rich)
        life.advance(2).submit()

    assert (health().state, health().failures) == (Breaker.CLOSED, 0)


def test_failures_of_long_ago_do_not_count(rich, instant_provider, life):
    instant_provider.provider(outcome="submit_500")
    for _ in range(4):
        create_job(rich)
        life.submit()
        life.advance(50)

    assert health().state == Breaker.CLOSED


def test_while_it_is_open_nothing_is_sent_and_what_runs_goes_on(rich, instant_provider, life):
    running = create_job(rich)
    life.submit()
    open_breaker(rich, instant_provider, life)
    sent = len(submissions(instant_provider))
    life.run_until_done(running)

    assert_completed(running)
    assert len(submissions(instant_provider)) == sent


def order_waiting_jobs(rich, instant_provider, life, count=4) -> list[Job]:
    """Jobs that were ordered just before the provider failed."""
    jobs = [create_job(rich) for _ in range(count)]
    Job.objects.filter(id__in=[job.id for job in jobs]).update(
        due_at=life.now + timedelta(seconds=15)
    )
    return jobs


def test_after_a_while_one_request_tries_and_its_success_closes_it(rich, instant_provider, life):
    waiting = order_waiting_jobs(rich, instant_provider, life)
    open_breaker(rich, instant_provider, life)
    sent = len(submissions(instant_provider))
    instant_provider.provider(outcome="ok")

    life.advance(20).submit()
    assert len(submissions(instant_provider)) == sent
    life.advance(11).submit()
    assert len(submissions(instant_provider)) == sent + 1
    assert health().state == Breaker.CLOSED
    life.advance(1).submit()

    assert len(submissions(instant_provider)) == sent + len(waiting)
    cache.invalidate()
    assert rich.generate().status_code == 200


def test_a_probe_that_fails_opens_it_again(rich, instant_provider, life):
    order_waiting_jobs(rich, instant_provider, life)
    open_breaker(rich, instant_provider, life)
    sent = len(submissions(instant_provider))

    life.advance(31).submit()
    life.advance(1).submit()

    assert health().state == Breaker.OPEN
    assert len(submissions(instant_provider)) == sent + 1
    assert health().open_until > life.now + timedelta(seconds=25)


def test_a_probe_whose_worker_died_is_followed_by_another(rich, instant_provider, life):
    order_waiting_jobs(rich, instant_provider, life)
    open_breaker(rich, instant_provider, life)
    instant_provider.provider(outcome="ok")
    sent = len(submissions(instant_provider))
    ProviderHealth.objects.update(
        state=Breaker.HALF_OPEN, probe_id=ProviderRequest.objects.first().id,
        open_until=life.now + timedelta(seconds=100),
    )  # fmt: skip

    life.advance(60).submit()
    assert len(submissions(instant_provider)) == sent
    life.advance(41).submit()

    assert len(submissions(instant_provider)) == sent + 1
    assert health().state == Breaker.CLOSED


def test_a_job_that_cannot_be_sent_is_no_probe(rich, instant_provider, life):
    (spoilt,) = order_waiting_jobs(rich, instant_provider, life, count=1)
    open_breaker(rich, instant_provider, life)
    ProviderRoute.objects.filter(model_id=SORA).update(
        parameters={"prompt": {"name": "prompt", "format": "{nothing}"}}
    )
    cache.invalidate()

    life.advance(31).submit()

    assert (health().state, health().probe_id) == (Breaker.OPEN, None)
    assert_refunded(spoilt, code="ERR_5002")


def test_among_several_workers_one_probe_goes(guest, instant_provider, settings):
    settings.JOBS_AT_ONCE = {"free": 100}
    # Intake of this process would refuse.
    jobs = [create_job(guest) for _ in range(6)]
    instant_provider.provider(outcome="submit_500", times=1)
    ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN,
        open_until=timezone.now() - timedelta(seconds=1),
    )  # fmt: skip
    life = JobDriver()

    at_once(*[life.submit] * 4)

    assert len(submissions(instant_provider)) == 1
    assert health().state == Breaker.OPEN
    for job in jobs:
        life.run_until_done(job)


def test_another_key_goes_on_where_one_is_shut(rich, instant_provider, life, settings):
    keys = KeyRing({"default": "sandbox-id:sandbox-secret", "spare": "sandbox-id:other-secret"})
    override_provider(settings, "fal", keys=keys)
    ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN,
        open_until=life.now + timedelta(seconds=600),
    )  # fmt: skip
    cache.invalidate()

    jobs = [create_job(rich) for _ in range(3)]
    for job in jobs:
        life.run_until_done(job)
        assert_completed(job)

    used = ProviderRequest.objects.values_list("key_label", flat=True)
    assert set(used) == {"spare"}


def test_another_provider_takes_over_where_one_is_shut(rich, instant_provider, life):
    """Veo has a route at Runway too, Sora only at fal."""
    instant_provider.control("provider", provider="runway", queue_seconds=0, run_seconds=0)
    ProviderHealth.objects.create(
        provider="fal", key_label="default", state=Breaker.OPEN,
        open_until=life.now + timedelta(seconds=600),
    )  # fmt: skip
    cache.invalidate()

    job = create_job(rich, model_id=str(VEO))
    life.run_until_done(job)

    assert_completed(job)
    assert ProviderRequest.objects.get(job=job).provider == "runway"
    assert submissions(instant_provider) == []
    assert_refused(rich.generate(model_id=str(SORA)), 503, "ERR_5002")


@pytest.mark.parametrize("outcome", ["error", "aborted", "submit_403_balance", "submit_429"])
def test_where_runpod_breaks_modal_makes_the_video(rich, sandbox, life, outcome):
    for provider in ("runpod", "modal"):
        sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
    sandbox.provider(provider="runpod", outcome=outcome)
    job = create_job(rich, model_id=str(OWN_WAN))

    life.run_until_done(job)

    assert_completed(job)
    requests = ProviderRequest.objects.filter(job=job).order_by("sent_at")
    assert [request.provider for request in requests] == ["runpod", "modal"]
    assert len(sandbox.jobs("modal")) == 1


def test_while_runpod_is_shut_modal_gets_the_jobs_and_then_runpod_again(
    rich, sandbox, life, settings
):
    settings.BREAKER_FAILURES = 2
    for provider in ("runpod", "modal"):
        sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
    sandbox.provider(provider="runpod", outcome="submit_403_balance")

    def provider_of_next_job() -> str:
        job = create_job(rich, model_id=str(OWN_WAN))
        life.run_until_done(job)
        assert_completed(job)
        return ProviderRequest.objects.filter(job=job).latest("sent_at").provider

    assert {provider_of_next_job() for _ in range(4)} == {"modal"}
    assert len([one for one in sandbox.requests("runpod") if one["method"] == "POST"]) == 2

    sandbox.provider(provider="runpod", outcome="ok")
    life.advance(settings.BREAKER_OPEN_SECONDS + 1)
    cache.invalidate()
    assert provider_of_next_job() == "runpod"


def test_what_waits_for_a_provider_that_stays_down_is_refunded_at_its_deadline(
    rich, instant_provider, life, settings
):
    settings.BREAKER_OPEN_SECONDS = 600
    (waiting,) = order_waiting_jobs(rich, instant_provider, life, count=1)
    open_breaker(rich, instant_provider, life)

    while waiting.stage == Stage.SUBMIT:
        life.advance(5).submit()
        waiting.refresh_from_db()

    assert_refunded(waiting, code="ERR_5002")
    assert 100 < (life.now - waiting.created_at).total_seconds() < 130


# --- How much, how fast -------------------------------------------------------------------------


def test_no_more_are_sent_than_the_provider_takes_at_once(rich, instant_provider, life, settings):
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 2}
    instant_provider.provider(run_seconds=600, cancel_running=True)
    jobs = [create_job(rich) for _ in range(5)]

    life.submit()
    life.advance(5).submit()
    assert len(submissions(instant_provider)) == 2

    rich.post("cancel-video-job", {"job_id": str(jobs[0].id)})
    life.advance(1).submit()
    assert len(submissions(instant_provider)) == 3


def test_videos_leave_slots_to_images(rich, instant_provider, life, settings):
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 5}
    settings.PROVIDER_SLOTS_FOR_IMAGES_PERCENT = 20
    instant_provider.provider(run_seconds=600)
    for _ in range(6):
        create_job(rich)
    for _ in range(2):
        create_job(rich, model_id=None, tier="basic")

    life.submit()
    assert len(submissions(instant_provider)) == 4
    life.queue = "medium"
    life.submit()
    assert len(submissions(instant_provider)) == 5  # the limit holds for both together


def test_several_workers_together_keep_to_the_limit(guest, instant_provider, settings):
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 3}
    jobs = [create_job(guest) for _ in range(8)]
    life = JobDriver()

    at_once(*[life.submit] * 4)

    assert len(submissions(instant_provider)) == 3
    for job in jobs:
        life.run_until_done(job)
        assert_completed(job)


def test_waiting_for_room_is_not_failing(rich, instant_provider, life, settings):
    """The wait may exceed the submit deadline, but has a limit."""
    settings.PROVIDER_MAX_CONCURRENT = {"fal": 1}
    settings.JOB_RUN_DEADLINE_SECONDS = 10_000
    instant_provider.provider(run_seconds=80_000)
    create_job(rich)
    life.submit()
    job = create_job(rich)
    for _ in range(20):
        life.advance(50).submit()
        job.refresh_from_db()
        assert job.stage == Stage.SUBMIT

    while job.stage == Stage.SUBMIT:
        life.advance(50).submit()
        job.refresh_from_db()

    assert_refunded(job, code="ERR_5002")
    assert 1800 <= (life.now - job.created_at).total_seconds() < 2000


def test_who_asks_us_to_wait_is_left_alone_for_so_long(
    rich, instant_provider, life, stub_server, settings
):
    override_provider(settings, "fal", url=stub_server.url)
    stub_server.say(429, {"detail": "slow down"}, Retry_After="40")
    create_job(rich)
    life.submit()
    create_job(rich)

    life.advance(30).submit()
    assert len(stub_server.asked) == 1
    life.advance(12).submit()

    assert len(stub_server.asked) == 3
