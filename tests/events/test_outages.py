"""The events process, Valkey and PostgreSQL are killed under listeners: nobody misses an end."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from tests.helpers import own_servers
from tests.helpers.budget import large
from tests.helpers.event_stream import EventStream
from tests.helpers.job_driver import WebPhone, serves
from tests.helpers.wait import wait_for

pytestmark = large


@pytest.fixture(scope="module")
def service(tmp_path_factory, django_db_setup):
    """Web and events on a PostgreSQL and a Valkey of their own. Without workers no job is sent."""
    folder = tmp_path_factory.mktemp("outages")
    changes = {"EVENT_STREAMS_PER_USER": 50, "DB_HANG_SECONDS": 1}
    with own_servers.serving(folder, "web", "events", durable=True, **changes) as service:
        wait_for(lambda: serves(service.stack.events_url))
        yield service


class Listener(threading.Thread):
    """Follows all that is a user's, and comes back whenever the stream breaks."""

    def __init__(self, url, phone):
        super().__init__(daemon=True)
        self.url, self.phone = url, phone
        self.events = []
        self.is_open = threading.Event()
        self.is_done = False
        self.start()

    def run(self):
        last_id = ""
        while not self.is_done:
            try:
                with EventStream(self.url, self.phone, last_id=last_id) as stream:
                    if stream.answer.status_code != 200:
                        time.sleep(0.2)
                        continue
                    self.is_open.set()
                    for event in stream:
                        self.events.append(event)
                        last_id = event.id
            except requests.RequestException:
                time.sleep(0.2)

    def has_heard(self, job_id, status):
        return any(
            event.data.get("job_id") == job_id and event.data["status"] == status
            for event in list(self.events)
        )


def listen(service, *, users, each):
    """Phones, each with a job and listeners."""
    found = []
    for _ in range(users):
        phone = WebPhone(service.stack.url).sign_in()
        (job_id,) = phone.order()
        listeners = [Listener(service.stack.events_url, phone) for _ in range(each)]
        found.append((phone, job_id, listeners))
    for _, job_id, listeners in found:
        for listener in listeners:
            wait_for(lambda one=listener, job=job_id: one.has_heard(job, "pending"))
    return found


def assert_heard(found):
    """Each hears the end of its own job, and of nobody else's."""
    for phone, job_id, listeners in found:
        for listener in listeners:
            wait_for(lambda one=listener, job=job_id: one.has_heard(job, "cancelled"))
            listener.is_done = True
            heard = [event.state for event in listener.events]
            assert {job for job, *_ in heard} == {"balance", job_id}
            assert len(heard) == len(set(heard)) + heard.count(("balance", 10)) - 1
        phone.post("auth/logout", {"refresh_token": phone.session["refresh_token"]})


def cancel_all(found):
    for phone, job_id, _ in found:
        wait_for(lambda one=phone, job=job_id: is_cancelled(one, job))


def is_cancelled(phone, job_id):
    try:
        return phone.post("cancel-video-job", {"job_id": job_id}).status_code in {200, 409}
    except requests.RequestException:
        return False


def kill_events(service, away_seconds):
    service.stack.kill("events")
    time.sleep(away_seconds)
    service.stack.start("events")


def kill_server(server, away_seconds):
    server.child.kill()
    time.sleep(away_seconds)
    server.launch()
    wait_for(server.answers)


OUTAGES = {
    "events": lambda service, seconds: kill_events(service, seconds),
    "Valkey": lambda service, seconds: kill_server(service.valkey, seconds),
    "PostgreSQL": lambda service, seconds: kill_server(service.database, seconds),
}


@pytest.mark.parametrize("what", OUTAGES)
def test_listeners_hear_the_end_of_their_jobs(service, what):
    found = listen(service, users=3, each=2)
    OUTAGES[what](service, 0.5)
    cancel_all(found)
    assert_heard(found)


@pytest.mark.parametrize("what", OUTAGES)
def test_five_hundred_listeners_hear_the_end_of_their_jobs(service, what):
    found = listen(service, users=25, each=20)
    OUTAGES[what](service, 10)
    cancel_all(found)
    assert_heard(found)


def test_events_come_while_valkey_is_away_and_while_it_hangs(service):
    found = listen(service, users=2, each=1)
    service.valkey.child.pause()
    try:
        cancel_all(found)
        assert_heard(found)
    finally:
        service.valkey.child.resume()


def test_a_stream_outlives_postgresql(service):
    """It stays open, and catches up."""
    phone = WebPhone(service.stack.url)
    wait_for(lambda: serves_ready(service))
    phone.sign_in()
    stream = EventStream(service.stack.events_url, phone)
    assert next(iter(stream)).name == "balance"

    kill_server(service.database, 0.5)
    job_id = wait_for(lambda: try_order(phone))

    assert stream.until("status", job_id=job_id)
    stream.close()
    cancel_all([(phone, job_id, [])])


def serves_ready(service):
    return requests.get(f"{service.stack.url}/readyz", timeout=10).status_code == 200


def try_order(phone):
    answer = phone.generate()
    return answer.status_code == 200 and answer.json()["job_id"]
