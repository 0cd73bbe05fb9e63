"""A flood of videos beside images, with a worker process for each queue."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from generation.models import IN_FLIGHT, Job, Stage
from rendio.local.stack import Stack
from tests.helpers.budget import large
from tests.helpers.job_driver import Running, WebPhone, ended
from tests.helpers.model_ids import SORA
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")

# fal takes so many submissions at a time. The flood fills all of them that videos may have.
STACK_ENVIRONMENT = {"PROVIDER_MAX_CONCURRENT": "fal:10"}
WAITING_VIDEOS = 200
IMAGES = 20
QUEUES = ("high", "medium", "low")


@pytest.fixture
def worker_of_each_queue(running: Running) -> Iterator[None]:
    """Instead of the one for all queues."""
    stack = running.stack
    names = [_add_command(stack, queue) for queue in QUEUES]
    stack.stop("worker")
    stack.start(*names)
    yield
    stack.stop(*names)
    stack.start("worker")


def _add_command(stack: Stack, queue: str) -> str:
    command, name = stack.commands["worker"], f"worker-{queue}"
    stack.commands[name] = replace(command, name=name, argv=[*command.argv, queue])
    # The metrics port is that of one process.
    stack.env = {**stack.env, "WORKER_METRICS_PORT": ""}
    return name


def seconds_of_an_image(phone: WebPhone) -> float:
    began = time.monotonic()
    body = {"prompt": "A red balloon", "tier": "basic"}
    answer = phone.post("generate/image", body, Idempotency_Key=str(uuid4()))
    job_id = answer.json()["job_id"]
    wait_for(lambda: phone.get(f"generate/{job_id}").json()["status"] == "completed")
    return time.monotonic() - began


@large
@pytest.mark.usefixtures("worker_of_each_queue")
def test_images_do_not_wait_behind_videos(running: Running, sandbox: Sandbox) -> None:
    sandbox.provider(queue_seconds=0, run_seconds=0.2)
    phone, flooding = running.phone(credits=1000), running.phone(credits=2000)
    seconds_of_an_image(phone)  # the first one of each process
    empty = [seconds_of_an_image(phone) for _ in range(IMAGES)]
    sandbox.provider(queue_seconds=0, run_seconds=3600, cancel_running=True)
    videos = flooding.order(WAITING_VIDEOS, model_id=str(SORA))
    in_flight = Job.objects.filter(id__in=videos, stage__in=IN_FLIGHT)
    wait_for(lambda: in_flight.count() >= 8)
    sandbox.provider(queue_seconds=0, run_seconds=0.2)

    flooded = [seconds_of_an_image(phone) for _ in range(IMAGES)]

    unfinished = Job.objects.filter(id__in=videos).exclude(stage=Stage.DONE)
    assert unfinished.count() == WAITING_VIDEOS
    assert statistics.median(flooded) < statistics.median(empty) + 1
    for video in videos:
        flooding.post(f"generate/{video}/cancel")
    ended(*videos, overdue=videos)
