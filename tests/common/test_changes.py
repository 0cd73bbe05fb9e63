"""Changes are announced after the commit, together, and whatever becomes of Redis."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from django.db import transaction

from rendio.common.background import changes
from tests.generation.training.orders import started
from tests.helpers.job_driver import grant
from tests.helpers.phone import Phone
from tests.helpers.wait import wait_for


@pytest.fixture
def messages():
    """A function that gives the next message: the users that it names."""
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    with client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(changes.CHANNEL)
        subscription.get_message(timeout=5)  # that it is subscribed

        def next_message():
            message = wait_for(lambda: subscription.get_message(timeout=1))
            return changes.read_message(message["data"])

        yield next_message


def test_a_transaction_is_announced_once_and_after_its_commit(committed, messages):
    rolled_back, first, second = uuid4(), uuid4(), uuid4()
    with transaction.atomic():
        changes.announce_on_commit(rolled_back)
        transaction.set_rollback(True)
    with transaction.atomic():
        changes.announce_on_commit(first)
        changes.announce_on_commit(first)
    named = messages()
    changes.announce_on_commit(second)
    while second not in named:
        named += messages()

    # Earlier tests may have left announcements of others.
    assert [one for one in named if one in {rolled_back, first, second}] == [first, second]


def test_an_order_and_its_cancellation_are_announced(committed, sandbox, messages):
    phone = Phone().sign_in()
    assert wait_for(lambda: phone.user_id in messages())  # the welcome credits

    job_id = phone.generate().json()["job_id"]
    assert wait_for(lambda: phone.user_id in messages())
    phone.post("cancel-video-job", {"job_id": job_id})
    assert wait_for(lambda: phone.user_id in messages())
    drain(messages)
    phone.post("delete-video-job", {"job_id": job_id})
    assert wait_for(lambda: phone.user_id in messages())


def test_a_training_and_its_cancellation_are_announced(committed, sandbox, messages):
    phone = Phone().sign_in()
    grant(phone.user_id, 100)
    drain(messages)

    job = started(phone)
    assert wait_for(lambda: phone.user_id in messages())
    drain(messages)
    phone.post(f"train/{job.id}/cancel")
    assert wait_for(lambda: phone.user_id in messages())


def drain(messages):
    """Read what was announced until now."""
    marker = uuid4()
    changes.announce_on_commit(marker)
    while marker not in messages():
        pass


@pytest.mark.parametrize("message", [b"x", b"0" * 15, b"0" * 17])
def test_a_message_that_is_not_ours_names_nobody(message):
    assert changes.read_message(message) == []


def test_without_redis_nobody_waits(committed, settings, closed_port, caplog):
    settings.REDIS_URL = f"redis://127.0.0.1:{closed_port}/0"
    changes._redis.cache_clear()
    try:
        changes.announce_on_commit(uuid4())
        assert wait_for(lambda: "changes_not_announced" in caplog.text)
    finally:
        changes._redis.cache_clear()
