"""kill -9 at each stage of a training: it ends, is sent once and is settled once, and no file is
left that nothing names."""

from __future__ import annotations

import signal

import pytest
from django.core.management import call_command

from generation.models import FileDeletion, Stage
from tests.generation.test_lifecycle_crashes import STEP
from tests.generation.training.orders import started, trained_by
from tests.generation.training.test_deletion import files_of
from tests.helpers import fork_server
from tests.helpers.budget import large
from tests.helpers.job_driver import (
    JobDriver,
    kinds_of,
    stack_environment,
    submissions,
)

# Providers fetch the zip from this process. `zip` dies when it should be written.
OURS = """
import os, signal
from django.conf import settings
from generation.training import submission

settings.PUBLIC_URL = os.environ["MEDIA_URL"]
if os.environ["DIE_ON"] == "zip":
    submission.write_zip = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
"""
# The step, the number of its call to the outside, and the side of the call.
DEATHS = [
    pytest.param("submit", 1, "zip", marks=large),
    pytest.param("submit", 1, "before", marks=large),
    pytest.param("submit", 1, "after", marks=large),
    pytest.param("poll", 1, "before", marks=large),
    pytest.param("poll", 1, "after", marks=large),
    pytest.param("store", 1, "before", marks=large),
    pytest.param("store", 1, "after", marks=large),
    pytest.param("store", 2, "before", marks=large),
    ("store", 2, "after"),
]


@pytest.mark.parametrize(("step", "at", "on"), DEATHS)
def test_a_worker_dies(guest, instant_trainers, settings, step, at, on):
    job = started(guest)
    life = JobDriver()
    stage = {"submit": Stage.SUBMIT, "poll": Stage.QUEUED, "store": Stage.STORE}[step]
    life.run_until_done(job, until=lambda job: job.stage == stage)
    life.now = max(life.advance(1).now, job.due_at)

    process = fork_server.application(stack_environment()).run(
        OURS + STEP,
        STEP=step,
        DIE_AT=str(at),
        DIE_ON=on,
        NOW=life.now.isoformat(),
        MEDIA_URL=settings.PUBLIC_URL,
    )

    assert process.returncode == -signal.SIGKILL, process.stderr
    life.run_until_done(job)
    trained = trained_by(job)
    assert (job.status, kinds_of(job.id)) == ("completed", ["charge"])
    assert guest.balance() == 110 - job.credits
    # A submission of unknown outcome is not repeated: after its deadline the next trainer is asked.
    assert trained.provider == ("replicate" if step == "submit" else "fal")
    was_sent = step != "submit" or on == "after"
    assert len(submissions(instant_trainers)) == was_sent
    scheduled = tuple(FileDeletion.objects.values_list("name", flat=True))
    for name in files_of(f"jobs/{job.id}/"):
        assert name == trained.weights_name or name.startswith(scheduled)
    call_command("prove_ledger")
