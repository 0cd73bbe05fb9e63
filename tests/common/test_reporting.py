"""Sentry and OpenTelemetry: idle where they are not configured, nobody's data where they are."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import fork_server
from tests.helpers.budget import large
from tests.helpers.job_driver import StubServer

ROOT = Path(__file__).resolve().parents[2]
# A view that asks somebody and breaks, called with secrets in every place that could leak one.
SCRIPT = """
import sys
import django
django.setup()
from django.test import Client
from django.urls import path
import rendio.urls
from rendio.common.observability import tracing; from rendio.common.outbound import http

# Put together, so that the lines of this source which are sent are none of it.
planted = "".join(("plan", "ted"))

def broken(request, word):
    local_secret = f"{planted}-in-a-local"
    http.request("GET", sys.argv[1] + f"/ask?token={planted}-in-their-query")
    raise ValueError(f"nobody@{planted}-in-an-address.example has Bearer {planted}-in-the-message")

rendio.urls.urlpatterns.append(path("broken/<word>", broken))
answer = Client(raise_request_exception=False).post(
    f"/broken/{planted}-in-the-path?token={planted}-in-the-query",
    {"prompt": f"{planted}-in-the-body"},
    content_type="application/json",
    headers={
        "Authorization": f"Bearer {planted}-in-a-header",
        "Cookie": f"sessionid={planted}-in-a-cookie",
        "X-Request-ID": "the-request-0001",
    },
)
assert answer.status_code == 500, answer.status_code
assert Client().get("/statusz").status_code == 503  # nobody works here
tracing.stop()
if "sentry_sdk" in sys.modules:
    import sentry_sdk
    sentry_sdk.flush(timeout=60)
print(sorted(name for name in sys.modules if name in ("sentry_sdk", "opentelemetry.exporter")))
"""


@pytest.fixture
def sink():
    server = StubServer()
    server.otherwise = (200, {}, b"{}")
    yield server
    server.close()


def environment(**variables) -> dict[str, str]:
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "rendio.settings", **variables}


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def sent_to(sink, path) -> list[bytes]:
    found = []
    for (_, asked, headers), body in zip(sink.asked, sink.bodies, strict=True):
        if asked.startswith(path):
            packed = headers.get("Content-Encoding")
            assert packed in {None, "gzip"}
            found.append(gzip.decompress(body) if packed else body)
    return found


@large
def test_sentry_is_not_loaded_unless_configured(sink):
    # No fork: it would have the library of the process that it is forked from.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SCRIPT, sink.url],
        cwd=ROOT,
        env=environment(SENTRY_DSN="", OTEL_EXPORTER_OTLP_ENDPOINT=""),
        capture_output=True,
        text=True,
        check=False,
    )

    assert last_line(done) == "[]"

    assert [path for _, path, _ in sink.asked] == ["/ask?token=planted-in-their-query"]


def test_sentry_event_names_the_error_and_no_user(sink, tmp_path):
    dsn = sink.url.replace("http://", "http://public@") + "/1"

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    done = fork_server.run(
        str(script),
        sink.url,
        environment=environment(SENTRY_DSN=dsn, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url),
    )

    assert last_line(done) == "['opentelemetry.exporter', 'sentry_sdk']"
    envelopes = sent_to(sink, "/api/1/envelope/")
    events = [
        json.loads(line)
        for envelope in envelopes
        for line in envelope.splitlines()
        if b'"event_id"' in line and b'"level"' in line
    ]
    # Not of the 503, which was meant.
    assert all("exception" in event for event in events)
    event = events[0]
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["tags"]["request_id"] == "the-request-0001"
    assert event["transaction"] == "/broken/{word}"
    assert "request" not in event
    [spans] = sent_to(sink, "/v1/traces")
    for told in (b"POST broken/<word>", b"GET 127.0.0.1", b"the-request-0001"):
        assert told in spans
    for body in [*envelopes, spans]:
        assert b"planted-in" not in body
