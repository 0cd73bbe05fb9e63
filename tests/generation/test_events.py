"""video-jobs/{job_id}/events: one event at once, one for each change, the last at the job's end.

Against the web process as it runs in production.
"""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from uuid import uuid4

import pytest
import requests
from django.db import connection
from django.utils import timezone

from generation import queries, streams
from generation.lifecycle import settle
from generation.providers.base import FailureReason
from tests.helpers import shared_stack
from tests.helpers.job_driver import create_job, ended
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")
STREAMS = 2 * shared_stack.STANDARD["EVENT_STREAMS_PER_PROCESS"]  # of two web processes


class Stream:
    """A minimal EventSource client."""

    def __init__(self, phone, job_id, **headers):
        self.answer = requests.get(
            f"{phone.url}/v1/video-jobs/{job_id}/events",
            headers=phone._headers() | {"Accept": "text/event-stream"} | headers,
            stream=True,
            timeout=30,
        )
        self.lines = self.answer.iter_lines(chunk_size=1, decode_unicode=True)

    def __iter__(self):
        """Yield the data of events until the server closes."""
        event = {}
        for line in self.lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                assert event["event"] == "status"
                assert int(event["retry"]) >= 2000
                yield json.loads(event["data"])
                event = {}

    def close(self):
        self.answer.close()


@pytest.fixture
def provider(sandbox):
    sandbox.provider(queue_seconds=0.3, run_seconds=1.5)
    return sandbox


@pytest.fixture
def endless(provider):
    """Jobs that run until they are cancelled."""
    provider.provider(run_seconds=600, cancel_running=True)
    return provider


def cancel_jobs(phone, *job_ids):
    for job_id in job_ids:
        phone.post("cancel-video-job", {"job_id": job_id})
    ended(*job_ids)


def try_fail(job):
    """Retry if the worker has claimed the job at this moment."""

    def as_it_is_now() -> bool:
        job.refresh_from_db()
        return settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())

    wait_for(as_it_is_now)


def test_a_job_is_followed_from_its_order_to_its_video(running, provider):
    phone = running.phone()
    (job_id,) = phone.order()

    stream = Stream(phone, job_id)
    seen = list(stream)

    assert stream.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["Cache-Control"] == "no-store"
    assert seen[0]["job_id"] == job_id
    assert [body["status"] for body in seen][-1] == "completed"
    assert requests.get(seen[-1]["video_url"], timeout=10).status_code == 200
    assert set(seen[0]) == set(phone.status(job_id))
    # Each tells something new, and no bar runs backwards.
    for before, after in pairwise(seen):
        assert (before["status"], before["progress"], before["queue_position"]) != (
            after["status"], after["progress"], after["queue_position"],
        )  # fmt: skip
        assert before["progress"] <= after["progress"]


def test_of_a_job_that_has_ended_there_is_one_event(running, provider):
    phone = running.phone()
    (job_id,) = phone.order()
    cancel_jobs(phone, job_id)

    (body,) = Stream(phone, job_id)

    assert body["status"] in {"cancelled", "completed"}


def test_a_failure_is_told_in_the_phones_language(running, provider):
    provider.provider(outcome="error")
    phone = running.phone()
    (job_id,) = phone.order()

    *_, last = Stream(phone, job_id, **{"Accept-Language": "es"})

    assert (last["status"], last["refunded"]) == ("failed", True)
    assert last["error"]["message"] == "El servicio de vídeo no está disponible."


def test_a_failure_is_told_in_the_language_that_the_profile_has_by_then(guest, endless):
    job = create_job(guest)
    events = iter(guest.get(f"video-jobs/{job.id}/events").streaming_content)
    assert b'"pending"' in next(events)

    guest.post("update-user-profile", {"language": "es"})
    try_fail(job)

    last = [event for event in events if event != b":\n\n"][-1]
    assert "El servicio de vídeo no está disponible." in last.decode()


def test_a_job_deleted_meanwhile_closes_the_stream(running, endless):
    phone = running.phone()
    (job_id,) = phone.order()
    stream = Stream(phone, job_id)
    events = iter(stream)
    assert next(events)["status"] in {"pending", "processing"}

    cancel_jobs(phone, job_id)
    phone.post("delete-video-job", {"job_id": job_id})

    assert [body["status"] for body in events][-1:] in ([], ["cancelled"], ["processing"])


def test_streams_beyond_the_cap_tell_once_and_do_not_hold_the_server(running, endless):
    """Two processes of eight threads and two streams each answer calls beside thirty streams."""
    phone = running.phone()
    (job_id,) = phone.order()
    streams = [Stream(phone, job_id) for _ in range(30)]
    firsts = [next(iter(stream)) for stream in streams]
    assert {first["job_id"] for first in firsts} == {job_id}

    assert phone.status(job_id)["job_id"] == job_id

    readers = [threading.Thread(target=list, args=[stream], daemon=True) for stream in streams]
    for reader in readers:
        reader.start()
    wait_for(lambda: alive(readers) <= STREAMS)
    cancel_jobs(phone, job_id)
    wait_for(lambda: alive(readers) == 0)


def alive(threads) -> int:
    return sum(thread.is_alive() for thread in threads)


def test_waiting_holds_no_database_connection(guest, endless, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    job = create_job(guest)
    state = queries.get_state(user_id=guest.user_id, job_id=job.id)
    stream = streams.events(state, session_id=uuid4(), language_now=lambda: "en")
    assert b'"pending"' in next(stream)
    assert connection.connection is not None

    next(stream)
    assert connection.connection is None

    guest.post("cancel-video-job", {"job_id": str(job.id)})
    assert b'"cancelled"' in [event for event in stream if event != b":\n\n"][-1]
    wait_for(lambda: not streams._broadcaster._thread.is_running)


def test_a_session_that_ended_sees_no_more(running, endless):
    phone = running.phone()
    (job_id,) = phone.order()
    stream = Stream(phone, job_id)
    events = iter(stream)
    next(events)
    keep = dict(phone.session)

    phone.post("auth/logout", {"refresh_token": keep["refresh_token"]})

    assert [body["status"] for body in events if body["status"] == "completed"] == []
    assert phone.get(f"video-jobs/{job_id}/events").status_code == 401
    phone.sign_in()
    cancel_jobs(phone, job_id)


def test_nobody_watches_a_strangers_job(running, provider):
    phone, stranger = running.phone(), running.phone()
    (job_id,) = phone.order()

    for named, status, code in (
        (job_id, 404, "ERR_4007"), (uuid4(), 404, "ERR_4007"), ("seven", 400, "ERR_4008"),
    ):  # fmt: skip
        answer = Stream(stranger, named).answer
        assert answer.headers["Content-Type"] == "application/json"
        assert_refused(answer, status, code)
    ended(job_id)


def test_a_server_that_is_asked_to_stop_closes_its_streams(running, endless):
    phone = running.phone()
    (job_id,) = phone.order()
    stream = Stream(phone, job_id)
    events = iter(stream)
    next(events)

    assert running.stack.stop("web") == []

    assert [body["status"] for body in events if body["status"] == "completed"] == []
    running.stack.start("web")
    wait_for(lambda: serves_again(phone))
    cancel_jobs(phone, job_id)


def serves_again(phone: Phone) -> bool:
    try:
        return phone.get("get-models").status_code == 200
    except requests.RequestException:
        return False
