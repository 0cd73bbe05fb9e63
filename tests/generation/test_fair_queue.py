"""Fair queueing across users, and the limit of jobs in flight."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from accounts.models import Tier, User
from generation.dispatch import fair_queue
from generation.lifecycle import submit
from generation.models import Job, ProviderRequest, Stage
from rendio.common.ids import uuid7
from tests.helpers.job_driver import create_job, grant, submissions

OTHERS = 99


@pytest.fixture
def heavy_user(phone, instant_provider):
    """A user with a hundred jobs, ordered before all others."""
    job = create_job(phone)
    copy_job(job, [phone.user_id] * 99)
    return phone


def copy_job(job: Job, user_ids) -> list[Job]:
    values = {field.attname: getattr(job, field.attname) for field in Job._meta.fields}
    return Job.objects.bulk_create(
        Job(**values | {"id": uuid7(), "user_id": user_id}) for user_id in user_ids
    )


def users(count: int) -> list[User]:
    return User.objects.bulk_create(User(is_guest=True, password="!") for _ in range(count))


def submitted_user_ids() -> list:
    """User ids of the submitted jobs, in order."""
    return list(ProviderRequest.objects.order_by("id").values_list("job__user_id", flat=True))


def test_a_hundred_jobs_of_one_user_keep_nobody_waiting(heavy_user, life):
    others = {user.id for user in users(OTHERS)}
    copy_job(Job.objects.filter(user_id=heavy_user.user_id).first(), others)

    life.submit()
    life.submit()

    sent = submitted_user_ids()
    assert len(sent) == 100
    assert set(sent) == others | {heavy_user.user_id}


def test_a_user_has_as_many_at_once_as_the_tier_allows(heavy_user, life, sandbox, settings):
    settings.JOBS_AT_ONCE = {Tier.FREE: 3, Tier.PREMIUM: 7}
    life.submit()
    life.advance(5).submit()
    assert len(submissions(sandbox)) == 3

    User.objects.filter(id=heavy_user.user_id).update(tier=Tier.PREMIUM)
    life.advance(5).submit()
    assert len(submissions(sandbox)) == 7

    life.advance(5).poll()
    life.submit()
    assert Counter(Job.objects.values_list("stage", flat=True))[Stage.SENT] <= 7
    assert len(submissions(sandbox)) > 7


def test_waiting_for_ones_own_turn_is_not_failing(phone, instant_provider, life, settings):
    settings.JOBS_AT_ONCE = {Tier.FREE: 1}
    settings.JOB_RUN_DEADLINE_SECONDS = 10_000
    instant_provider.provider(run_seconds=10_000)
    create_job(phone)
    life.submit()
    second = create_job(phone)

    for _ in range(10):
        life.advance(50).submit()

    second.refresh_from_db()
    assert second.stage == Stage.SUBMIT


def test_what_comes_late_from_another_route_waits_as_long_as_any_other(
    phone, instant_provider, life, settings
):
    settings.JOBS_AT_ONCE = {Tier.FREE: 1}
    settings.JOB_RUN_DEADLINE_SECONDS = 10_000
    instant_provider.provider(run_seconds=10_000)
    create_job(phone)
    life.submit()
    late = create_job(phone)
    left = timedelta(seconds=50)
    Job.objects.filter(id=late.id).update(
        created_at=life.now - timedelta(seconds=settings.JOB_WAIT_DEADLINE_SECONDS),
        deadline_at=life.now + left,
    )

    life.submit()

    late.refresh_from_db()
    assert late.deadline_at == life.now + left


def test_whoever_has_reached_the_limit_does_not_fill_the_window(
    heavy_user, life, monkeypatch, settings
):
    monkeypatch.setattr(fair_queue, "WINDOW_SIZE", 20)
    settings.JOBS_AT_ONCE = {Tier.FREE: 1}
    (late,) = users(1)
    copy_job(Job.objects.filter(user_id=heavy_user.user_id).first(), [late.id])

    for _ in range(6):
        life.advance(0.5).submit()

    assert submitted_user_ids() == [heavy_user.user_id, late.id]


def test_two_queues_count_as_one_user(heavy_user, life, settings):
    settings.JOBS_AT_ONCE = {Tier.FREE: 2}
    life.submit()
    image = ordered_as_image(heavy_user)

    submit.submit_due(queue="medium", now=life.advance(1).now)

    image.refresh_from_db()
    assert image.stage == Stage.SUBMIT


def ordered_as_image(phone) -> Job:
    grant(phone.user_id, 10)
    job = create_job(phone)
    Job.objects.filter(id=job.id).update(queue="medium")
    return job
