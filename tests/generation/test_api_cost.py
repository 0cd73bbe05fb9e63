"""Cost of a first generate-video: round trips to PostgreSQL and Redis, and messages."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import tokens
from rendio.common.web import ratelimit
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone


@pytest.fixture
def committed_phone(committed, sandbox):
    """A guest whose orders commit. Its jobs are cancelled at the end."""
    phone = Phone().sign_in()
    yield phone
    for job in phone.get("get-video-jobs").json()["jobs"]:
        phone.post("cancel-video-job", {"job_id": job["job_id"]})


def test_a_fresh_order_takes_six_trips_to_postgresql_with_begin_and_commit(committed_phone):
    committed_phone.get("get-models")  # the catalogue is in memory, as in a process that serves

    with CaptureQueriesContext(connection) as trips:
        assert committed_phone.generate().status_code == 200

    said = [trip["sql"].split()[0] for trip in trips.captured_queries]
    assert (said[0], said[-1]) == ("BEGIN", "COMMIT")
    assert len(said) <= 6, said


def test_a_quote_that_is_named_is_one_trip_more(committed_phone):
    asked = {"prompt": "A red balloon over the sea", "model_id": str(SORA)}
    quote_id = committed_phone.post("quote-video", asked).json()["quote_id"]

    with CaptureQueriesContext(connection) as trips:
        answer = committed_phone.generate(**asked, quote_id=quote_id)

    assert answer.status_code == 200, answer.content
    assert len(trips.captured_queries) <= 7


def test_a_token_is_believed_without_a_query(committed_phone, settings):
    settings.ERROR_LOG_PER_MINUTE = 0  # a refusal that is kept is one
    with CaptureQueriesContext(connection) as trips:
        claims = tokens.read_access(committed_phone.session["access_token"])
        # Authenticated, counted and refused before anything is looked up.
        refused = committed_phone.post("generate-video", {"prompt": "abc"})

    assert claims.user_id == committed_phone.user_id
    assert refused.json()["error"]["code"] == "ERR_4009"
    assert [trip["sql"] for trip in trips.captured_queries] == []


class Wire:
    """A proxy to Valkey that counts round trips."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.target = (parts.hostname, parts.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = parts._replace(
            netloc=parts.netloc.rpartition("@")[0]
            + "@" * ("@" in parts.netloc)
            + f"127.0.0.1:{self.listener.getsockname()[1]}"
        ).geturl()
        self.trips = 0
        self.asking = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, asks), daemon=True).start()

    def _pump(self, source, sink, asks):
        # The other direction closes both ends of its own when its client goes.
        with sink, suppress(OSError):
            while data := source.recv(65536):
                if asks and not self.asking:
                    self.trips += 1
                self.asking = asks
                sink.sendall(data)


@pytest.fixture
def wire(settings):
    wire = Wire(settings.REDIS_URL)
    settings.REDIS_URL = wire.url
    ratelimit._redis.cache_clear()
    yield wire
    ratelimit._redis().close()
    ratelimit._redis.cache_clear()
    wire.close()


def test_all_limits_of_an_order_take_one_trip_to_redis(committed_phone, wire, settings):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {
        "generation_hour_per_user": (100, 3600),
        "generation_minute_per_user": (100, 60),
    }
    committed_phone.generate()  # the connection is made
    before = wire.trips

    answer = committed_phone.generate()

    assert answer.status_code == 200
    assert "X-RateLimit-Limit" in answer.headers
    assert wire.trips - before == 1
