"""kill -9 around each call of a worker: the job ends, is submitted once and is settled once.

A real process does one step of the lifecycle and kills itself just before a call, or after the
answer and before the result is stored.
"""

from __future__ import annotations

import signal

import pytest
from django.core.management import call_command

from generation.models import Job, JobStatus, ProviderRequest, Stage
from tests.helpers import fork_server
from tests.helpers.job_driver import (
    JobDriver,
    assert_completed,
    assert_refunded,
    create_job,
    send_webhook,
    stack_environment,
    submissions,
)

# The n-th call to the outside that the step makes, and on which side of it death comes.
STEP = """
import itertools, os, signal
from datetime import datetime
from generation.lifecycle import cancel, poll, store, submit
from rendio.common.outbound import http

calls = itertools.count(1)
number, side = int(os.environ["DIE_AT"]), os.environ["DIE_ON"]

def deadly(call):
    def called(*args, **kwargs):
        is_it = next(calls) == number
        if is_it and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*args, **kwargs)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return called

http.request, http.download = deadly(http.request), deadly(http.download)
now = datetime.fromisoformat(os.environ["NOW"])
steps = {
    "submit": lambda: submit.submit_due(queue="low", now=now),
    "poll": lambda: poll.poll_due(queue="low", now=now),
    "store": lambda: store.store_due(queue="low", now=now),
    "cancel": lambda: cancel.cancel_due(now=now),
}
steps[os.environ["STEP"]]()
"""


def run_and_kill(step: str, *, at: int, on: str, life: JobDriver) -> None:
    """Run one step in a worker that is killed there."""
    process = fork_server.application(stack_environment()).run(
        STEP, STEP=step, DIE_AT=str(at), DIE_ON=on, NOW=life.now.isoformat()
    )
    assert process.returncode == -signal.SIGKILL, process.stderr


@pytest.fixture
def job(guest, instant_provider) -> Job:
    return create_job(guest)


@pytest.fixture
def life(job) -> JobDriver:
    """A clock after the order, shared with other processes."""
    return JobDriver()


def test_before_the_submission_left(job, life, guest, instant_provider):
    """The outcome is unknown, so the job waits for its deadline and is refunded."""
    run_and_kill("submit", at=1, on="before", life=life)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5001")
    assert submissions(instant_provider) == []
    assert guest.balance() == 110
    call_command("prove_ledger")


def test_between_the_providers_acceptance_and_our_commit(
    job, life, guest, instant_provider, signer
):
    run_and_kill("submit", at=1, on="after", life=life)
    job.refresh_from_db()
    assert (job.stage, len(submissions(instant_provider))) == (Stage.SENT, 1)
    assert send_webhook(signer, job) == 200

    life.run_until_done(job)

    assert_completed(job)
    assert (
        len(submissions(instant_provider)) == ProviderRequest.objects.filter(job=job).count() == 1
    )
    call_command("prove_ledger")


def test_between_the_providers_acceptance_and_our_commit_with_its_webhook_lost(
    job, life, guest, instant_provider
):
    run_and_kill("submit", at=1, on="after", life=life)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5001")
    assert len(submissions(instant_provider)) == 1
    assert guest.balance() == 110


@pytest.mark.parametrize("on", ["before", "after"])
def test_while_it_looks(job, life, instant_provider, on):
    life.submit()
    job.refresh_from_db()
    # Jobs of other tests decide how soon a route is polled first.
    life.now = max(life.now, job.due_at)
    run_and_kill("poll", at=1, on=on, life=life)

    life.run_until_done(job)

    assert_completed(job)
    assert len(submissions(instant_provider)) == 1


@pytest.mark.parametrize("at", [1, 2], ids=["result", "download"])
@pytest.mark.parametrize("on", ["before", "after"])
def test_while_it_fetches(job, life, instant_provider, at, on):
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    run_and_kill("store", at=at, on=on, life=life.advance(1))

    life.run_until_done(job)

    assert_completed(job)
    assert len(submissions(instant_provider)) == 1


@pytest.mark.parametrize("at", [1, 2, 3], ids=["status", "cancel", "result"])
@pytest.mark.parametrize("on", ["before", "after"])
def test_while_it_takes_back(job, life, guest, instant_provider, at, on):
    instant_provider.provider(run_seconds=600, cancel_running=True)
    life.submit()
    Job.objects.filter(id=job.id).update(cancel_requested_at=life.now)
    run_and_kill("cancel", at=at, on=on, life=life.advance(1))

    life.run_until_done(job)

    assert_refunded(job, status=JobStatus.CANCELLED)
    assert guest.balance() == 110
