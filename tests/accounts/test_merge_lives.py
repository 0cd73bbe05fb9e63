"""A guest's job that runs while the guest is merged: it ends for the account, and so does its
money."""

from uuid import uuid4

import pytest
from django.utils import timezone

from credits import ledger_check
from credits import services as credit_services
from credits.models import Kind, LedgerEntry
from generation.lifecycle import settle
from generation.lifecycle.claims import claim
from generation.models import Job, JobStatus, Stage
from generation.providers.base import FailureReason
from tests.helpers.job_driver import JobDriver

pytestmark = pytest.mark.django_db

SORA = "00000000-0000-4000-8000-000000000003"
ORDER = {"model_id": SORA, "prompt": "A red balloon over the sea"}


def ledger_adds_up():
    return ledger_check.find_discrepancies() == []


def balance(user_id):
    return credit_services.balance_of(user_id).balance


def kinds_of(job):
    return list(
        LedgerEntry.objects.filter(job_id=job.id)
        .order_by("created_at")
        .values_list("kind", flat=True)
    )


@pytest.fixture
def account(guest, person):
    """10 credits."""
    assert person.signs_in(guest).status_code == 200
    return guest


@pytest.fixture
def second_phone(account, new_signed_in):
    """A guest with a welcome of its own, of which a job has taken 4."""
    return new_signed_in()


@pytest.fixture
def job(second_phone, sandbox):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    answer = second_phone.post("generate-video", ORDER, idempotency_key=str(uuid4()))
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["job_id"])


def moved_on(job, life, stage):
    return life.run_until_done(job, until=lambda job: job.stage == stage)


@pytest.mark.parametrize("stage", [Stage.SUBMIT, Stage.QUEUED, Stage.STORE])
def test_a_job_that_completes_after_the_merge_is_the_accounts(
    account, second_phone, person, job, stage
):
    life = JobDriver()
    moved_on(job, life, stage)
    assert person.signs_in(second_phone).json()["merged"] is True

    life.run_until_done(job)

    status = account.get(f"get-video-status?job_id={job.id}").json()
    assert (status["status"], status["refunded"]) == ("completed", False)
    assert status["video_url"]
    assert balance(account.user_id) == 10
    assert kinds_of(job) == [Kind.CHARGE]
    assert ledger_adds_up()


@pytest.mark.parametrize("stage", [Stage.SUBMIT, Stage.QUEUED])
def test_a_job_that_fails_after_the_merge_is_refunded_to_the_account(
    account, second_phone, person, job, sandbox, stage
):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False, outcome="error")
    guest_id, life = second_phone.user_id, JobDriver()
    moved_on(job, life, stage)
    own = account.post("generate-video", ORDER, idempotency_key=str(uuid4()))
    person.signs_in(second_phone)

    life.run_until_done(job)

    assert own.status_code == 200
    assert job.status == JobStatus.FAILED
    # Its 4 credits are of the second welcome, whose other 6 have lapsed: no more than one holds.
    assert (balance(guest_id), balance(account.user_id)) == (0, 6 + 4)
    assert kinds_of(job) == [Kind.CHARGE, Kind.REFUND]
    assert ledger_adds_up()
    spent = [
        account.post("generate-video", ORDER, idempotency_key=str(uuid4())).status_code
        for _ in range(3)
    ]
    assert spent == [200, 200, 402]
    assert ledger_adds_up()


def test_a_worker_that_claimed_the_job_before_the_merge_settles_it_for_the_account(
    account, second_phone, person, job
):
    guest_id, life = second_phone.user_id, JobDriver()
    moved_on(job, life, Stage.QUEUED)
    claimed = next(
        one
        for one in claim(queue="low", stages=[Stage.QUEUED], now=job.due_at, limit=100)
        if one.id == job.id
    )
    person.signs_in(second_phone)
    assert str(claimed.user_id) == guest_id

    assert settle.fail(claimed, FailureReason.PROVIDER_ERROR, now=timezone.now()) is True

    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert kinds_of(job) == [Kind.CHARGE, Kind.REFUND]
    assert (balance(guest_id), balance(account.user_id)) == (0, 10)
    assert ledger_adds_up()
    assert settle.fail(claimed, FailureReason.PROVIDER_ERROR, now=timezone.now()) is False
    assert balance(account.user_id) == 10


def test_a_job_that_ended_before_the_merge_stays_as_it_is(account, second_phone, person, job):
    JobDriver().run_until_done(job)
    person.signs_in(second_phone)

    (listed,) = account.get("get-video-jobs").json()["jobs"]

    assert (listed["job_id"], listed["status"]) == (str(job.id), "completed")
    assert account.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200
    assert ledger_adds_up()
