"""A machine whose clock is wrong by an hour: no order waits for it, and an operator is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import requests
from django.utils import timezone

from tests.generation.conftest import running
from tests.helpers.job_driver import Running, assert_completed, ended
from tests.helpers.shifted_clock import HOUR
from tests.helpers.wait import wait_for

__all__ = ["running"]  # a fixture

pytestmark = pytest.mark.usefixtures("committed")


@contextmanager
def clock_is_off(running: Running, name: str, seconds: int) -> Iterator[None]:
    """This process runs on a machine of its own, whose clock is so much ahead."""
    stack = running.stack
    command = stack.commands[name]
    module = command.argv.index("-m") + 1
    shifted = [
        sys.executable,
        "-m",
        "tests.helpers.shifted_clock",
        str(seconds),
        *command.argv[module:],
    ]
    stack.stop(name)
    stack.commands[name] = replace(command, argv=shifted)
    stack.start(name)
    try:
        yield
    finally:
        stack.stop(name)
        stack.commands[name] = command
        stack.start(name)


def problems(running: Running) -> list[str]:
    found: list[str] = requests.get(f"{running.url}/statusz", timeout=30).json()["problems"]
    return found


@pytest.mark.parametrize("name", ["worker", "beat"])
@pytest.mark.parametrize(("seconds", "where"), [(HOUR, "ahead of"), (-HOUR, "behind")])
def test_a_job_is_done_where_one_clock_is_an_hour_off(running, sandbox, name, seconds, where):
    phone = running.phone()
    token = phone.register_for_pushes()
    with clock_is_off(running, name, seconds):
        wait_for(
            lambda: [one for one in problems(running) if f"{where} PostgreSQL's" in one],
            describe=lambda: problems(running),
        )
        [job_id] = phone.order()

        job = ended(job_id)[job_id]

        assert_completed(job)
        assert wait_for(lambda: sandbox.pushes(token))
        # A video cannot be done before it was ordered, nor later than now.
        assert job.created_at <= job.completed_at <= timezone.now()


def test_the_scheduler_goes_on_where_its_clock_is_set_back(running, sandbox):
    """All that is left to bring the job on is the scheduler: nothing else says "look"."""
    phone = running.phone()
    sandbox.provider(webhooks=False, queue_seconds=0.1, run_seconds=0.1)
    with clock_is_off(running, "beat", 0):
        wait_for(lambda: not [one for one in problems(running) if "clock" in one])
        os.kill(running.stack.children["beat"].pid, signal.SIGUSR2)
        wait_for(lambda: [one for one in problems(running) if "behind" in one])

        [job_id] = phone.order()

        assert_completed(ended(job_id)[job_id])
