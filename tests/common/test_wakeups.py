"""Wake-up messages reach our broker, name no row, are few, and no request waits for them."""

from __future__ import annotations

import base64
import json
from uuid import uuid4

import pytest
import redis
from celery.schedules import schedule
from django.conf import settings as django_settings
from django.db import transaction

from rendio.beat_scheduler import MAX_WAITING_LONG_INTERVAL, Scheduler
from rendio.celery import app
from rendio.common.background import wakeup
from rendio.common.background.due_work import kinds
from tests.helpers.wait import wait_for

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
        wakeup.enqueue_on_commit(TASK, queue=mark)
        wait_for(lambda mark=mark: broker.llen(mark) == 1)
        broker.delete(mark)


def test_a_message_reaches_the_broker_of_the_settings(committed, broker, queue):
    wakeup.enqueue_on_commit(TASK, queue=queue, arguments={"queue": queue})

    wait_for(lambda: broker.llen(queue) == 1)
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
        wakeup.enqueue_on_commit(TASK, queue=queue)
        transaction.set_rollback(True)
    sent_so_far_is_all(broker)
    assert broker.llen(queue) == 0

    with transaction.atomic():
        wakeup.enqueue_on_commit(TASK, queue=queue)
        sent_so_far = broker.llen(queue)
    assert sent_so_far == 0
    wait_for(lambda: broker.llen(queue) == 1)


def test_burst_with_a_slow_broker_sends_at_most_two_messages(committed, broker, queue):
    """One is on its way when the broker stops answering; all others wait as one."""
    broker.client_pause(timeout=60_000, all=False)
    try:
        for _ in range(30):
            wakeup.enqueue_on_commit(TASK, queue=queue)
    finally:
        broker.client_unpause()
    sent_so_far_is_all(broker)

    assert 1 <= broker.llen(queue) <= 2


def test_long_queue_gets_no_further_messages(committed, broker, queue):
    with app.producer_or_acquire() as producer:
        broker.rpush(queue, *["a message"] * (wakeup.MAX_WAITING - 1))
        assert wakeup.has_room(queue, producer)
        broker.rpush(queue, "a message")
        assert not wakeup.has_room(queue, producer)

    wakeup.enqueue_on_commit(TASK, queue=queue)
    sent_so_far_is_all(broker)

    assert broker.llen(queue) == wakeup.MAX_WAITING


def test_scheduler_sends_rare_messages_to_a_long_queue(broker, queue, tmp_path):
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

    broker.rpush(queue, *["a message"] * wakeup.MAX_WAITING)
    say_every(1)
    assert broker.llen(queue) == wakeup.MAX_WAITING
    say_every(60)
    assert broker.llen(queue) == wakeup.MAX_WAITING + 1
    broker.rpush(queue, *["a message"] * MAX_WAITING_LONG_INTERVAL)
    say_every(60)
    assert broker.llen(queue) == wakeup.MAX_WAITING + 1 + MAX_WAITING_LONG_INTERVAL


def test_scheduler_messages_hide_their_arguments(tmp_path):
    scheduler = Scheduler(app, schedule_filename=str(tmp_path / "beat"))

    for kind in kinds():
        for queue in kind.queues:
            options = scheduler._entry(kind, queue).options
            assert (options["argsrepr"], options["kwargsrepr"]) == ("", "")
