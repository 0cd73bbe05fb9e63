"""Nudges: they reach our broker, say no row, come few, and no request waits for them."""

from __future__ import annotations

import base64
import json
from uuid import uuid4

import pytest
import redis
from celery.schedules import schedule
from django.conf import settings as django_settings
from django.db import transaction

from rendio.beat_scheduler import ENOUGH_OF_RARE, Scheduler
from rendio.celery import app
from rendio.common import nudge
from tests.helpers.wait import eventually

TASK = "generation.submit_due"


@pytest.fixture
def broker():
    return redis.Redis.from_url(django_settings.REDIS_URL)


@pytest.fixture
def queue(broker):
    """A queue that no worker serves."""
    name = f"test-{uuid4()}"
    yield name
    broker.delete(name)


def messages(broker, queue):
    return [json.loads(message) for message in broker.lrange(queue, 0, -1)]


def sent_so_far_is_all(broker):
    """A message behind all others has arrived. The first may go out beside them, the second not."""
    for _ in range(2):
        mark = f"test-mark-{uuid4()}"
        nudge.after_commit(TASK, queue=mark)
        eventually(lambda mark=mark: broker.llen(mark) == 1)
        broker.delete(mark)


def test_a_nudge_reaches_the_broker_of_the_settings(committed, broker, queue):
    nudge.after_commit(TASK, queue=queue, with_queue=True)

    eventually(lambda: broker.llen(queue) == 1)
    message = messages(broker, queue)[0]
    assert message["headers"]["task"] == TASK
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([], {"queue": queue})
    # A worker whose clock is ahead would throw it away.
    assert message["headers"]["expires"] is None
    # What Flower would show.
    assert (message["headers"]["argsrepr"], message["headers"]["kwargsrepr"]) == ("", "")


def test_nothing_is_sent_before_the_commit_or_after_a_rollback(committed, broker, queue):
    with transaction.atomic():
        nudge.after_commit(TASK, queue=queue)
        transaction.set_rollback(True)
    sent_so_far_is_all(broker)
    assert broker.llen(queue) == 0

    with transaction.atomic():
        nudge.after_commit(TASK, queue=queue)
        sent_so_far = broker.llen(queue)
    assert sent_so_far == 0
    eventually(lambda: broker.llen(queue) == 1)


def test_a_burst_while_the_broker_is_slow_becomes_two_messages_at_most(committed, broker, queue):
    """One is on its way when the broker stops answering; all others wait as one."""
    broker.client_pause(timeout=60_000, all=False)
    try:
        for _ in range(30):
            nudge.after_commit(TASK, queue=queue)
    finally:
        broker.client_unpause()
    sent_so_far_is_all(broker)

    assert 1 <= broker.llen(queue) <= 2


def test_a_long_queue_is_not_made_longer(committed, broker, queue):
    with app.producer_or_acquire() as producer:
        broker.rpush(queue, *["a message"] * (nudge.ENOUGH - 1))
        assert nudge.has_room(queue, producer)
        broker.rpush(queue, "a message")
        assert not nudge.has_room(queue, producer)

    nudge.after_commit(TASK, queue=queue)
    sent_so_far_is_all(broker)

    assert broker.llen(queue) == nudge.ENOUGH


def test_the_scheduler_leaves_room_on_a_long_queue_for_what_it_says_rarely(broker, queue, tmp_path):
    scheduler = Scheduler(app, schedule_filename=str(tmp_path / "beat"), lazy=True)

    def say_every(seconds: float) -> None:
        entry = scheduler.Entry(
            task=TASK,
            schedule=schedule(seconds),
            kwargs={"queue": queue},
            options={"queue": queue},
            app=app,
        )
        scheduler.apply_entry(entry, producer=scheduler.producer)

    broker.rpush(queue, *["a message"] * nudge.ENOUGH)
    say_every(1)
    assert broker.llen(queue) == nudge.ENOUGH
    say_every(60)
    assert broker.llen(queue) == nudge.ENOUGH + 1
    broker.rpush(queue, *["a message"] * ENOUGH_OF_RARE)
    say_every(60)
    assert broker.llen(queue) == nudge.ENOUGH + 1 + ENOUGH_OF_RARE


def test_no_message_of_the_scheduler_shows_its_arguments():
    for entry in app.conf.beat_schedule.values():
        assert (entry["options"]["argsrepr"], entry["options"]["kwargsrepr"]) == ("", "")
