"""Cost of frequent calls: round trips to PostgreSQL and Redis."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from accounts import tokens
from credits import services as credit_services
from credits.services import Source
from generation.errors import ProviderUnavailable
from generation.lifecycle import settle
from generation.models import Job, JobStatus, Stage
from generation.providers.base import FailureReason
from rendio.common.web import ratelimit
from tests.generation.test_fair_queue import copy_job
from tests.helpers.phone import Phone
from tests.helpers.pictures import uploaded

SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"


@pytest.fixture
def committed_phone(committed, sandbox):
    """A guest whose orders commit. Its jobs are cancelled at the end."""
    phone = Phone().sign_in()
    yield phone
    for job in phone.get("get-video-jobs").json()["jobs"]:
        phone.post("cancel-video-job", {"job_id": job["job_id"]})


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
    """A proxy to a server that counts round trips."""

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


@pytest.fixture
def database_wire(committed_phone):
    """Between Django's connection and PostgreSQL. The connection, the catalogue and the statements
    of an order are ready, as in a process that serves."""
    address = {name: connection.settings_dict[name] for name in ("HOST", "PORT")}
    wire = Wire("postgresql://{HOST}:{PORT}".format(**address))
    proxy = urlsplit(wire.url)
    connection.close()
    connection.settings_dict |= {"HOST": proxy.hostname, "PORT": str(proxy.port)}
    committed_phone.generate()
    yield wire
    connection.close()
    connection.settings_dict |= address
    wire.close()


def test_fresh_order_takes_two_trips_to_postgresql(committed_phone, database_wire):
    before = database_wire.trips

    answer = committed_phone.generate()

    assert answer.status_code == 200
    assert database_wire.trips - before == 2


def test_order_with_a_quote_and_an_upload_takes_two_trips_to_postgresql(
    committed_phone, database_wire, settings, tmp_path
):
    settings.MEDIA_ROOT = str(tmp_path)
    picture = uploaded(committed_phone)
    asked = {
        "prompt": "A red balloon over the sea",
        "model_id": SORA_FROM_PICTURE,
        "upload_id": picture["upload_id"],
    }
    quote_id = committed_phone.post("quote-video", asked).json()["quote_id"]
    before = database_wire.trips

    answer = committed_phone.generate(**asked, quote_id=quote_id)

    assert answer.status_code == 200, answer.content
    assert database_wire.trips - before == 2


def test_replay_from_an_emptied_wallet_takes_four_trips_to_postgresql(
    committed_phone, database_wire
):
    key = str(uuid4())
    first = committed_phone.generate(key=key)
    before = database_wire.trips

    answer = committed_phone.generate(key=key)

    assert answer.content == first.content
    assert answer.headers["X-Idempotent-Replay"] == "true"
    assert database_wire.trips - before == 4


def test_refunding_a_failed_job_with_a_push_takes_nine_trips_to_postgresql(
    committed_phone, database_wire
):
    job = Job.objects.get(id=committed_phone.generate().json()["job_id"])
    before = database_wire.trips

    settle.fail(job, FailureReason.PROVIDER_ERROR, now=now())

    assert database_wire.trips - before == 9
    assert committed_phone.balance() == 6


# --- Reads ----------------------------------------------------------------------------------------


@pytest.fixture
def customer(phone):
    """A guest with a pending, a completed, and 24 failed jobs, and 26 ledger entries or more."""
    phone.generate()
    pending = Job.objects.get()
    completed, *others = copy_job(pending, [phone.user_id] * 25)
    end(completed, status=JobStatus.COMPLETED, media_name="jobs/a/video.mp4")
    for job in others:
        end(
            job,
            status=JobStatus.FAILED,
            refund_entry_id=grant(phone).id,
            error_code=ProviderUnavailable.code,
        )
    phone.pending_id, phone.completed_id = pending.id, completed.id
    return phone


def end(job, **values):
    done = {"stage": Stage.DONE, "due_at": None, "deadline_at": None, "completed_at": now()}
    Job.objects.filter(id=job.id).update(**done, **values)


def grant(phone):
    return credit_services.grant(
        user_id=phone.user_id, amount=1, source=Source.SUPPORT, reason="test", now=now()
    )


READS = {
    "status of a pending job": lambda phone: phone.get("get-video-status", job_id=phone.pending_id),
    "status of a completed job": lambda phone: phone.get(
        "get-video-status", job_id=phone.completed_id
    ),
    "jobs": lambda phone: phone.get("get-jobs", limit=20),
    "video jobs of a status": lambda phone: phone.get("get-video-jobs", status="failed", limit=20),
    "credits": lambda phone: phone.get("get-user-credits"),
    "history": lambda phone: phone.get("get-credit-history", limit=20),
    "quote": lambda phone: phone.post("quote-video", {"prompt": "A red balloon over the sea"}),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_takes_one_statement_and_one_trip_to_redis(customer, wire, settings, name):
    limits = {"default_per_user": (100, 60), "quotes_per_user": (100, 60)}
    settings.RATE_LIMITS = settings.RATE_LIMITS | limits
    READS[name](customer)  # the connection to Redis is made; catalogue and durations are cached
    before = wire.trips

    with CaptureQueriesContext(connection) as statements:
        answer = READS[name](customer)

    assert answer.status_code == 200, answer.content
    assert len(statements) == 1, [each["sql"] for each in statements]
    assert wire.trips - before == 1
