"""Event streams over real sockets, against the processes as they run in production."""

from __future__ import annotations

import threading
from collections import defaultdict
from itertools import pairwise
from uuid import uuid4

import pytest
import requests
from django.utils import timezone

from generation.lifecycle import settle
from generation.models import Job
from generation.providers.base import FailureReason
from tests.helpers.event_stream import EventStream
from tests.helpers.job_driver import ended
from tests.helpers.phone import assert_refused
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")
# One user's streams: of the tests of limits, and of one with many breaks.
STACK_ENVIRONMENT = {"EVENT_STREAMS_PER_USER": 3, "REVOCATION_REFRESH_SECONDS": 1}
ENDS = {"completed", "failed", "cancelled"}


def job_path(job_id):
    return f"video-jobs/{job_id}/events"


def cancel(phone, *job_ids):
    for job_id in job_ids:
        phone.post("cancel-video-job", {"job_id": job_id})
    ended(*job_ids)


def test_a_job_is_followed_from_its_order_to_its_video(running, events_url, provider):
    phone = running.phone()
    (job_id,) = phone.order()

    stream = EventStream(events_url, phone, job_path(job_id))
    seen = list(stream)

    assert stream.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["Cache-Control"] == "no-store, no-transform"
    assert stream.answer.headers["X-Accel-Buffering"] == "no"
    assert stream.answer.headers["X-Request-ID"]
    assert {event.name for event in seen} == {"status"}
    assert [event.data["status"] for event in seen][-1] == "completed"
    assert requests.get(seen[-1].data["video_url"], timeout=10).status_code == 200
    assert set(seen[0].data) == set(phone.status(job_id))
    # Each tells something new, and no bar runs backwards.
    for before, after in pairwise(seen):
        assert before.state != after.state
        assert before.data["progress"] <= after.data["progress"]

    # A client that returns gets nothing, and a new client gets the end.
    back = EventStream(events_url, phone, job_path(job_id), last_id=seen[-1].id)
    assert (back.answer.status_code, back.answer.content) == (204, b"")
    (again,) = EventStream(events_url, phone, job_path(job_id))
    assert again.state == seen[-1].state


def test_all_that_is_a_users_is_told_and_nothing_of_another(running, events_url, endless):
    phone, stranger = running.phone(), running.phone()
    (old,) = phone.order()
    mine = EventStream(events_url, phone)
    theirs = EventStream(events_url, stranger)
    balance = phone.balance()
    first, second = next(iter(mine)), next(iter(mine))
    assert (first.name, first.data["credits_remaining"]) == ("balance", balance)
    assert (second.name, second.data["job_id"]) == ("status", old)
    assert next(iter(theirs)).data["credits_remaining"] == stranger.balance()

    (new,) = phone.order()
    mine.until("balance", credits_remaining=balance - 4)
    cancel(phone, old, new)
    seen = [mine.until("status", job_id=new, status="cancelled")]
    mine.close()

    (their_job,) = stranger.order()
    heard = theirs.until("status", job_id=their_job)
    cancel(stranger, their_job)
    theirs.close()
    assert seen[0].data["refunded"] is True
    # Nothing came between the stranger's own balance and job.
    assert len(heard.id) == 16


def test_a_failure_is_told_in_the_phones_language(running, events_url, provider):
    provider.provider(outcome="error")
    phone = running.phone()
    (job_id,) = phone.order()

    *_, last = EventStream(events_url, phone, job_path(job_id), **{"Accept-Language": "es"})

    assert (last.data["status"], last.data["refunded"]) == ("failed", True)
    assert last.data["error"]["message"] == "El servicio de vídeo no está disponible."


def test_a_failure_is_told_in_the_language_that_the_profile_has_by_then(
    running, events_url, endless
):
    phone = running.phone()
    (job_id,) = phone.order()
    stream = EventStream(events_url, phone, job_path(job_id))
    next(iter(stream))

    phone.post("update-user-profile", {"language": "es"})
    # The process has heard of it.
    wait_for(lambda: refusal_message(events_url, phone) == "No se ha encontrado.")
    fail(job_id)

    last = stream.until("status", status="failed")
    assert last.data["error"]["message"] == "El servicio de vídeo no está disponible."


def refusal_message(url, phone):
    return EventStream(url, phone, job_path(uuid4())).answer.json()["error"]["message"]


def fail(job_id):
    """Retry if the worker has claimed the job at this moment."""

    def as_it_is_now():
        job = Job.objects.get(id=job_id)
        return settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())

    wait_for(as_it_is_now)


def test_a_hundred_breaks_lose_nothing_and_repeat_nothing(running, events_url, endless):
    phone = running.phone(credits=1000)
    seen, breaks = [], 0
    expected = phone.order(12)

    def cancel_all():
        for job_id in expected:
            phone.post("cancel-video-job", {"job_id": job_id})

    canceller = threading.Thread(target=cancel_all)
    canceller.start()
    last_id = ""
    has_all = False
    while breaks < 100 or not has_all:
        with EventStream(events_url, phone, last_id=last_id) as stream:
            # The connection breaks after an event, or before any.
            if breaks % 3 and not has_all:
                seen.append(next(iter(stream)))
            last_id = stream.last_id
        breaks += 1
        assert breaks < 1000, "the same events come again and again"
        told = {event.data["job_id"] for event in seen if event.data.get("status") in ENDS}
        has_all = told == set(expected) and last_balance(seen) == 1010
    canceller.join()
    ended(*expected)

    of_item = defaultdict(list)
    for event in seen:
        of_item[event.data.get("job_id", "balance")].append(event)
    for events in of_item.values():
        for before, after in pairwise(events):
            assert before.state != after.state
    # Nothing is left to tell.
    with EventStream(events_url, phone, last_id=last_id) as stream:
        (new,) = phone.order()
        assert next(iter(stream)).state in {("balance", 1006), (new, "pending", 0, 0, False)}
    cancel(phone, new)


def last_balance(events):
    *_, last = [event for event in events if event.name == "balance"]
    return last.data["credits_remaining"]


def test_a_session_that_ends_closes_its_streams(running, events_url, endless):
    phone = running.phone()
    stream = EventStream(events_url, phone)
    next(iter(stream))

    phone.post("auth/logout", {"refresh_token": phone.session["refresh_token"]})

    assert list(stream) == []
    assert_refused(EventStream(events_url, phone).answer, 401, "ERR_4005")


def test_refusals_are_the_apis(running, events_url, endless):
    phone, stranger = running.phone(), running.phone()
    (job_id,) = phone.order()
    try:
        for path, who, status, code in (
            (job_path(job_id), stranger, 404, "ERR_4007"),
            (job_path(uuid4()), phone, 404, "ERR_4007"),
            (job_path("seven"), phone, 400, "ERR_4008"),
            ("get-models", phone, 404, "ERR_4007"),
        ):
            answer = EventStream(events_url, who, path).answer
            assert answer.headers["Content-Type"] == "application/json"
            assert_refused(answer, status, code)
        answer = requests.post(f"{events_url}/v1/events", headers=phone._headers(), timeout=30)
        assert_refused(answer, 405, "ERR_4008")
        assert_refused(requests.get(f"{events_url}/v1/events", timeout=30), 401, "ERR_4005")
    finally:
        cancel(phone, job_id)


def test_beyond_the_limit_and_on_web_the_present_state_is_told_and_the_stream_closes(
    running, events_url, endless
):
    phone = running.phone()
    (job_id,) = phone.order()
    open_ones = [EventStream(events_url, phone, job_path(job_id)) for _ in range(3)]
    for stream in open_ones:
        next(iter(stream))

    for url in (events_url, running.url):
        beyond = EventStream(url, phone)
        told = list(beyond)
        assert [event.name for event in told] == ["balance", "status"]
        assert beyond.retry_ms >= 2000
        # Looking again and again loses nothing either.
        again = EventStream(url, phone, last_id=told[-1].id)
        assert [event.data["status"] for event in again] in ([], ["processing"])

    cancel(phone, job_id)
    for stream in open_ones:
        stream.until("status", status="cancelled")
        assert list(stream) == []


def test_a_deleted_job_closes_its_stream(running, events_url, endless):
    phone = running.phone()
    (job_id,) = phone.order()
    stream = EventStream(events_url, phone, job_path(job_id))
    next(iter(stream))

    cancel(phone, job_id)
    phone.post("delete-video-job", {"job_id": job_id})

    assert [event.data["status"] for event in stream][-1:] in ([], ["cancelled"], ["processing"])


def test_a_process_that_stops_says_when_to_come_back(running, events_url, endless):
    phone = running.phone()
    (job_id,) = phone.order()
    stream = EventStream(events_url, phone, job_path(job_id))
    next(iter(stream))

    assert running.stack.stop("events") == []

    assert {event.data["status"] for event in stream} <= {"pending", "processing"}
    assert 1000 <= stream.retry_ms <= 1500
    running.stack.start("events")
    cancel(phone, job_id)
    wait_for(lambda: has_ended(events_url, phone, job_id, stream.last_id))


def has_ended(url, phone, job_id, last_id):
    try:
        events = list(EventStream(url, phone, job_path(job_id), last_id=last_id))
    except requests.ConnectionError:
        return False
    return [event.data["status"] for event in events] == ["cancelled"]
