"""Every background thread goes on after an exception that nobody expected, and /statusz names one
that does not do its work."""

from __future__ import annotations

import asyncio
import ctypes
import re
import socket
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from celery.schedules import schedule
from django.db import connection
from django.utils import timezone

from accounts import revocations
from accounts.languages import ChangedLanguages
from accounts.models import Session
from adminops.models import Heartbeat
from adminops.monitoring import heartbeats
from generation.models import Job
from rendio import beat_scheduler, metrics_endpoint
from rendio.celery import app
from rendio.common.background import changes, wakeup
from rendio.common.background import threads as thread_background
from rendio.common.background.threads import BackgroundThread
from rendio.events.announcements import Announcements
from rendio.events.hub import Hub
from rendio.events.reading import Topic
from rendio.events.responses import EventsResponse, open_events
from rendio.local.data_dir import PROJECT
from tests.helpers.budget import large
from tests.helpers.phone import Phone
from tests.helpers.wait import wait_for

APPS = ("accounts", "adminops", "billing", "credits", "generation", "rendio")


def kill(name):
    """Raise SystemExit, which nobody expects, wherever the thread is."""
    wait_for(lambda: ident_of(name))
    raised = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident_of(name)), ctypes.py_object(SystemExit)
    )
    assert raised == 1


def ident_of(name):
    return next((one.ident for one in threading.enumerate() if one.name == name), None)


def was_killed(caplog, name):
    return any(
        "thread_failed" in record.getMessage() and name in record.getMessage()
        for record in caplog.records
    )


@pytest.fixture
def kept(committed):
    """The revoked sessions as a web process keeps them."""
    kept = revocations.RevokedSessions(ChangedLanguages())
    kept.start()
    yield kept
    kept.stop()


def test_revocations_are_read_after_the_thread_was_killed(kept, sandbox, settings, caplog):
    settings.REVOCATION_REFRESH_SECONDS = 0.1
    phone = Phone().sign_in()
    session = Session.objects.get(user_id=phone.user_id)
    kill("revocations")
    wait_for(lambda: was_killed(caplog, "revocations"))

    phone.post("auth/logout", phone.session)

    assert wait_for(lambda: session.id in kept)


def test_wakeups_are_sent_after_the_thread_was_killed(committed, caplog):
    queue = f"test-{uuid4()}"
    wakeup.enqueue_on_commit("test.first", queue=queue)
    wait_for(lambda: waiting_in(queue) == 1)
    kill("wakeup")
    wakeup.enqueue_on_commit("test.second", queue=queue)  # wakes it
    wait_for(lambda: was_killed(caplog, "wakeup"))

    wakeup.enqueue_on_commit("test.third", queue=queue)

    assert wait_for(lambda: waiting_in(queue) >= 2)


def waiting_in(queue):
    with app.connection_for_read() as broker:
        return broker.default_channel.client.llen(queue)


@pytest.mark.parametrize("name", ["events", "announcements"])
def test_streams_tell_changes_after_the_thread_was_killed(committed, sandbox, caplog, name):
    phone = Phone().sign_in()
    opening = open_events(
        Topic(phone.user_id), session_id=uuid4(), language_now=lambda: "en", last_event_id=""
    )
    EventsResponse(opening)  # tells what there is

    async def follow():
        hub = Hub()
        hub.start()
        stream = hub.add(opening)
        try:
            await asyncio.to_thread(wait_for, lambda: hub.hears_announcements)
            kill(name)
            await asyncio.to_thread(wait_for, lambda: was_killed(caplog, name))
            await asyncio.to_thread(in_thread, lambda: phone.generate())
            told = b""
            while b'"pending"' not in told:
                told += await stream.next_part()
        finally:
            await asyncio.to_thread(hub.end)
        return told

    assert b'"pending"' in asyncio.run(follow())
    [job] = Job.objects.filter(user_id=phone.user_id)
    phone.post("cancel-video-job", {"job_id": str(job.id)})


def in_thread(call):
    """Closes the thread's connection."""
    try:
        call()
    finally:
        connection.close()


def test_changes_are_announced_after_the_thread_was_killed(committed, caplog):
    first, second = uuid4(), uuid4()
    heard = set()
    listener = Announcements(heard.update)
    listener.start()
    wait_for(lambda: listener.are_heard)
    changes.announce_on_commit(first)
    wait_for(lambda: first in heard)
    kill("changes")
    changes.announce_on_commit(uuid4())  # wakes it
    wait_for(lambda: was_killed(caplog, "changes"))

    changes.announce_on_commit(second)

    assert wait_for(lambda: second in heard)
    listener.stop()


def test_heartbeats_are_written_after_the_thread_was_killed(committed, settings, caplog):
    settings.HEARTBEAT_SECONDS = 0.1
    heartbeats.for_web.start()
    mine = Heartbeat.objects.filter(role=heartbeats.WEB)
    wait_for(mine.exists)
    kill("heartbeat")
    wait_for(lambda: was_killed(caplog, "heartbeat"))
    before = mine.get().beaten_at

    wait_for(lambda: mine.get().beaten_at > before)

    heartbeats.for_web.stop()
    assert not mine.exists()


@large
def test_a_worker_serves_metrics_after_the_thread_was_killed(settings, caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings.WORKER_METRICS_PORT = free.getsockname()[1]
    url = f"http://127.0.0.1:{settings.WORKER_METRICS_PORT}/"
    metrics_endpoint.serve_for_worker()
    kill("metrics")
    wait_for(lambda: was_killed(caplog, "metrics"))

    assert wait_for(lambda: is_served(url))
    assert not [problem for problem in thread_background.problems() if "metrics" in problem]


def test_a_worker_serves_metrics_at_an_ipv6_address(settings):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    settings.WORKER_METRICS_PORT, settings.WORKER_METRICS_ADDRESS = port, "::1"
    # The server of the test before serves on, in a thread: this one is another.
    server = BackgroundThread(
        "metrics6", wait=lambda: True, turn=metrics_endpoint._serve, late_seconds=None
    )

    server.start()

    assert wait_for(lambda: is_served(f"http://[::1]:{port}/"))


def is_served(url):
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def no_clock():
    raise ValueError


def test_the_scheduler_goes_on_after_a_round_that_failed(committed, settings, tmp_path, caplog):
    # Another test may have sent a heartbeat from this process just now.
    settings.HEARTBEAT_SECONDS = 0
    scheduler = beat_scheduler.Scheduler(app=app, schedule_filename=str(tmp_path / "schedule"))
    broken = schedule(run_every=1, nowfun=no_clock)
    scheduler.add(name="broken", task="test.none", schedule=broken, last_run_at=timezone.now())

    assert scheduler.tick() == beat_scheduler.RETRY_SECONDS
    assert "scheduler_round_failed" in caplog.text

    del scheduler.schedule["broken"]
    scheduler.tick()
    scheduler.close()
    assert Heartbeat.objects.filter(role=heartbeats.SCHEDULER).delete()[0] == 1


# --- How they show ----------------------------------------------------------------------------


@pytest.fixture
def thread():
    """A thread whose turns a test decides; ends with the test."""
    threads = []

    def start(turn, **options):
        is_over = threading.Event()
        one = BackgroundThread(
            f"test-{uuid4()}", wait=lambda: not is_over.wait(0.01), turn=turn, **options
        )
        threads.append((one, is_over))
        one.start()
        return one.name

    yield start
    for one, is_over in threads:
        is_over.set()
        one.join(timeout=5)
        thread_background._threads.pop(one.name)


def problems(client):
    return client.get("/statusz").json()["problems"]


def test_a_thread_that_fails_is_named(db, client, thread):
    def turn():
        raise ValueError

    name = thread(turn, late_seconds=60)

    assert wait_for(lambda: f"the thread {name} fails: ValueError" in problems(client))


def test_a_thread_that_is_stuck_is_named(db, client, thread):
    released = threading.Event()
    name = thread(released.wait, late_seconds=0.05)

    wait_for(lambda: any(f"{name} has been stuck" in one for one in problems(client)))

    released.set()
    assert wait_for(lambda: not any(name in one for one in problems(client)))


def test_what_another_process_says_of_its_threads_is_named(db, client):
    said = "the thread wakeup has been stuck for 130 s"
    heartbeats.write(process="web@one:7", roles=["web"], now=timezone.now(), problem=said)

    assert f"web@one:7: {said}" in problems(client)


def test_what_a_process_that_is_gone_said_is_not_named(db, client):
    long_ago = timezone.now() - timedelta(seconds=60)
    heartbeats.write(
        process="web@one:7", roles=["web"], now=long_ago, problem="the thread wakeup …"
    )

    assert not any("web@one:7" in one for one in problems(client))


def test_every_background_thread_is_in_the_table_of_threads():
    sources = [file for app in APPS for file in (PROJECT / app).rglob("*.py")]
    names = {
        name
        for file in sources
        for name in re.findall(r'(?:BackgroundThread|BatchSender)\(\s*"([\w-]+)"', file.read_text())
    }
    raw = [file for file in sources if "threading.Thread(" in file.read_text()]
    page = (PROJECT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| `(test_\w+)` \|$", page, flags=re.MULTILINE)

    assert names == {name for name, _test in rows}
    assert {test for _name, test in rows} <= set(globals())
    # Beside the class of background threads: the pools that run calls.
    assert {str(file.relative_to(PROJECT)) for file in raw} == {
        "rendio/common/background/threads.py",
        "rendio/server/threads.py",
        "rendio/server/worker.py",
    }
