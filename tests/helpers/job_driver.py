"""The life of a job under test: step by step with a clock of our own, or in real processes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.test import Client
from django.utils import timezone

from credits import services as credit_services
from credits.models import LedgerEntry
from generation.lifecycle import cancel, convert, poll, store, submit, webhooks
from generation.models import Job, JobStatus, ProviderRequest, RequestState, Stage
from rendio.local.stack import Stack
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

USER_ID = "sandbox-user"


def grant(user_id: UUID, amount: int) -> None:
    with transaction.atomic():
        credit_services.grant(
            user_id=user_id,
            amount=amount,
            source=credit_services.Source.SUPPORT,
            reason="for a test",
            now=timezone.now(),
        )


def kinds_of(job_id: Any) -> list[str]:
    """What the ledger says of a job, in order."""
    entries = LedgerEntry.objects.filter(job_id=job_id).order_by("id")
    return [str(entry.kind) for entry in entries]


def submissions(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [asked for asked in sandbox.requests() if asked["method"] == "POST"]


def status_polls(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [asked for asked in sandbox.requests() if asked["path"].endswith("/status")]


class JobDriver:
    """The due functions in this process. The clock stands still until we move it, or until what
    the test did through the API came later than that."""

    def __init__(self) -> None:
        self.queue = "low"  # run_until_done follows the job's
        # After whatever the test orders first.
        self.now = timezone.now() + timedelta(seconds=10)

    def advance(self, seconds: float) -> JobDriver:
        self.now += timedelta(seconds=seconds)
        return self

    def catch_up(self) -> datetime:
        """The clock, set forward on a machine so slow that the true one has overtaken it."""
        self.now = max(self.now, timezone.now())
        return self.now

    def submit(self) -> None:
        submit.submit_due(queue=self.queue, now=self.catch_up())

    def poll(self) -> None:
        poll.poll_due(queue=self.queue, now=self.now)

    def store(self) -> None:
        store.store_due(queue=self.queue, now=self.now)

    def convert(self) -> None:
        convert.convert_due(queue=self.queue, now=self.now)

    def cancel(self) -> None:
        cancel.cancel_due(now=self.catch_up())

    def stop(self) -> None:
        cancel.cancel_abandoned_due(now=self.now)

    def deliver(self) -> None:
        webhooks.process_due(now=self.catch_up())

    def run_until_done(self, job: Job, *, until: Callable[[Job], bool] | None = None) -> Job:
        """Do what is due, each time at the moment when it is, until the job has ended."""
        self.queue = job.queue
        for _ in range(200):
            for step in (
                self.deliver, self.cancel, self.submit, self.poll, self.store, self.convert,
            ):  # fmt: skip
                job.refresh_from_db()
                if (until or _has_ended)(job):
                    return job
                self.now = max(self.now, job.due_at or self.now)
                step()
        raise AssertionError(f"still {job.stage} after 200 steps")


def _has_ended(job: Job) -> bool:
    return job.stage == Stage.DONE


def create_job(phone: Phone, **body: Any) -> Job:
    """A job that was just paid: 4 credits, 4 seconds."""
    answer = phone.generate(**body)
    assert answer.status_code == 200, answer.content
    job = Job.objects.get(id=answer.json()["job_id"])
    assert (job.status, job.stage) == (JobStatus.PENDING, Stage.SUBMIT)
    return job


def assert_completed(job: Job) -> None:
    job.refresh_from_db()
    assert (job.status, job.stage, job.progress) == (JobStatus.COMPLETED, Stage.DONE, 100)
    assert job.media_name
    assert job.thumbnail_name
    assert kinds_of(job.id) == ["charge"]


def assert_refunded(job: Job, *, code: str = "", status: str = JobStatus.FAILED) -> None:
    job.refresh_from_db()
    assert (job.status, job.stage, job.error_code) == (status, Stage.DONE, code)
    assert kinds_of(job.id) == ["charge", "refund"]


# --- Races ------------------------------------------------------------------------------------


# --- A provider of our own ----------------------------------------------------------------------


def override_provider(settings: Any, provider: str, **access: Any) -> None:
    """Change how we get at a provider, for one test: `url`, `keys`, `media_hosts` …"""
    changed = replace(settings.PROVIDERS[provider], **access)
    settings.PROVIDERS = settings.PROVIDERS | {provider: changed}


class StubServer:
    """A loopback server that answers what it was told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.otherwise: tuple[int, dict[str, str], bytes] = (404, {}, b"")
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.connections: list[socket.socket] = []
        # So many requests get their answers at once, and none before.
        self.together: threading.Barrier | None = None
        stub_server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet: between two, a client's acknowledgement takes 40 ms.
            wbufsize = -1

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                stub_server.bodies.append(self.rfile.read(length))
                stub_server.asked.append((self.command, self.path, dict(self.headers)))
                if stub_server.together:
                    stub_server.together.wait(PATIENCE_SECONDS)
                status, headers, body = (
                    stub_server.answers.pop(0) if stub_server.answers else stub_server.otherwise
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # a whole batch connects at once

            def get_request(self) -> tuple[socket.socket, Any]:
                accepted, address = super().get_request()
                stub_server.connections.append(accepted)
                return accepted, address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that leaves is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Nobody is answered any more, on kept connections either: the port may be another's."""
        self.server.shutdown()
        self.server.server_close()
        for kept in self.connections:
            with contextlib.suppress(OSError):  # closed already
                kept.shutdown(socket.SHUT_RDWR)

    def say(self, status: int, body: Any = b"", **headers: str) -> StubServer:
        """The answer to the next request that has none yet."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, named, content))
        return self


class WebhookSigner:
    """fal's signature with keys of our own, whose key set a loopback server shows."""

    def __init__(self, key_set: StubServer) -> None:
        self.key_set = key_set
        self.rotate()

    def rotate(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        x = base64.urlsafe_b64encode(self.key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        body = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).encode()
        self.key_set.otherwise = (200, {}, body)

    def delivery(
        self,
        request_id: str,
        *,
        body: bytes | None = None,
        user_id: str = USER_ID,
        timestamp: int | str | None = None,
        key: Ed25519PrivateKey | None = None,
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a webhook."""
        body = body or json.dumps({"request_id": request_id, "status": "OK"}).encode()
        stamp = str(int(time.time()) if timestamp is None else timestamp)
        message = "\n".join((request_id, user_id, stamp, sha256(body).hexdigest())).encode()
        return body, {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": user_id,
            "X-Fal-Webhook-Timestamp": stamp,
            "X-Fal-Webhook-Signature": (key or self.key).sign(message).hex(),
        }

    def deliver(self, request_id: str, token: str = "", **changes: Any) -> int:
        """Make the call, in this process; returns the status of the answer."""
        body, headers = self.delivery(request_id, **changes)
        return self.send(body, headers, token)

    def send(self, body: bytes, headers: dict[str, str], token: str = "") -> int:
        answer = Client().post(
            f"/webhooks/fal?token={token}",
            body,
            content_type="application/json",
            headers=headers,
        )
        return int(answer.status_code)


def send_webhook(signer: WebhookSigner, job: Job) -> int:
    """The genuine webhook of the job's newest submission, by what the sandbox knows of it."""
    request = ProviderRequest.objects.filter(job=job).latest("id")
    found = [
        known["request_id"]
        for known in Sandbox().jobs()
        if request.webhook_token in (known["webhook_url"] or "")
    ]
    return signer.deliver(found[0], request.webhook_token)


# --- Real processes -----------------------------------------------------------------------------


class WebPhone(Phone):
    """A guest's phone that speaks HTTP to the web process."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(
            f"{self.url}/v1/{path}", params=query, headers=self._headers(), timeout=30
        )

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            f"{self.url}/v1/{path}",
            json=body if body is not None else {},
            headers=self._headers() | named,
            timeout=30,
        )

    def status(self, job_id: str) -> dict[str, Any]:
        answer = self.get("get-video-status", job_id=job_id)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def order(self, count: int = 1, **body: Any) -> list[str]:
        answers = [self.generate(**body) for _ in range(count)]
        assert {answer.status_code for answer in answers} == {200}, answers[0].text
        return [answer.json()["job_id"] for answer in answers]


class Running:
    """Web, worker and beat as processes of their own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.url = os.environ["PUBLIC_URL"]

    def phone(self, *, credits: int = 100) -> WebPhone:
        phone = WebPhone(self.url)
        phone.sign_in()
        assert phone.user_id
        grant(phone.user_id, credits)
        return phone

    def log(self, name: str) -> str:
        return self.stack.log(name).read_text(errors="replace")


def ended(*job_ids: str, overdue: Collection[str] = ()) -> dict[str, Job]:
    """The jobs, once none of them is due any more. Of those `overdue` each deadline passes at once,
    however slow the machine is, and of the others none."""
    jobs = Job.objects.filter(id__in=job_ids)
    unfinished = jobs.exclude(stage=Stage.DONE)

    def look() -> bool:
        expire_deadlines(unfinished.filter(id__in=overdue))
        return not unfinished.exists()

    wait_for(look, describe=lambda: list(unfinished.values_list("stage", "due_at", "tries")))
    return {str(job.id): job for job in jobs}


def wait_for_results(*job_ids: str) -> None:
    """Until all that is left to do for these is to fetch what was made."""
    before = Job.objects.filter(id__in=job_ids).exclude(stage__in=[Stage.STORE, Stage.DONE])
    wait_for(lambda: not before.exists(), describe=lambda: list(before.values_list("stage")))


def expire_deadlines(jobs: QuerySet[Job]) -> None:
    """As if the time of these were over, where nobody is at work on them and there has been a try
    at sending them."""
    on_its_way = ProviderRequest.objects.filter(job=OuterRef("id"), state=RequestState.SENDING)
    tried = ~Q(stage=Stage.SUBMIT) | Q(tries__gt=0)
    now = timezone.now()
    jobs.filter(tried, ~Exists(on_its_way), leased_until=None).update(due_at=now, deadline_at=now)


def stack_environment(database: str | None = None, **changes: Any) -> dict[str, str]:
    """For processes on this database, or on that of the test."""
    limits = [
        "RATE_LIMIT_GENERATION_PER_HOUR",
        "RATE_LIMIT_GENERATION_PER_MINUTE",
        "RATE_LIMIT_DEVICE_CHECK_PER_HOUR",
        "RATE_LIMIT_FIRST_CHECK_PER_HOUR",
        "RATE_LIMIT_REINSTALL_PER_HOUR",
        "RATE_LIMIT_UNPROVEN_PER_HOUR",
        "RATE_LIMIT_DEFAULT_PER_MINUTE",
        "PERSON_DAILY_USD",
    ]
    url = urlsplit(os.environ["DATABASE_URL"])
    with_query = urlunsplit(url._replace(path=f"/{database or connection.settings_dict['NAME']}"))
    return {
        **os.environ,
        **dict.fromkeys(limits, "0"),
        "DATABASE_URL": with_query,
        **{key: str(value) for key, value in changes.items()},
    }


def serves(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def token_of(asked: dict[str, Any]) -> str:
    """The webhook token that a recorded submission carried."""
    return parse_qs(urlsplit(asked["query"]["fal_webhook"]).query)["token"][0]
