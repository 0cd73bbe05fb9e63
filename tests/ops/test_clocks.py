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
from tests.helpers.budget import large
from tests.helpers.job_driver import Running, WebPhone, assert_completed, ended
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


def set_back(running: Running, name: str) -> None:
    """Set the clock back by two hours, in each process of the group."""
    os.killpg(running.stack.children[name].pid, signal.SIGUSR2)


def wait_until_named(running: Running, where: str) -> None:
    """`where` is "ahead of" or "behind"."""
    wait_for(
        lambda: [one for one in problems(running) if f"{where} PostgreSQL's" in one],
        describe=lambda: problems(running),
    )


def assert_job_is_done(phone: WebPhone) -> None:
    [job_id] = phone.order()

    job = ended(job_id)[job_id]

    assert_completed(job)
    # A video cannot be done before it was ordered, nor later than now.
    assert job.created_at <= job.completed_at <= timezone.now()


@large
@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_job_is_done_where_one_clock_is_an_hour_off(running, sandbox, name):
    """The clock of beat is also set back while nothing but beat brings the job on: without
    webhooks, nothing else says "look"."""
    phone = running.phone()
    token = phone.register_for_pushes()
    with clock_is_off(running, name, HOUR):
        wait_until_named(running, "ahead of")
        assert_job_is_done(phone)
        assert wait_for(lambda: sandbox.pushes(token))

        set_back(running, name)
        wait_until_named(running, "behind")
        if name == "beat":
            sandbox.provider(webhooks=False, queue_seconds=0.1, run_seconds=0.1)
        assert_job_is_done(phone)
        assert wait_for(lambda: len(sandbox.pushes(token)) > 1)
