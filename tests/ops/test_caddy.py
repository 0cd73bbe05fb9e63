"""`Caddyfile` in a real Caddy, before a server that tells what it was sent."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from rendio.local import child_process, ports
from rendio.local.data_dir import PROJECT
from tests.helpers.debian import ROOT
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

CADDY = shutil.which("caddy", path=f"{ROOT / 'usr/bin'}:{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(not CADDY, reason="Caddy is not here: .ci/servers unpacks it")


class Web(ThreadingHTTPServer):
    """Answers with the headers or the body it was sent; where events are asked for with two, the
    second when it is told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.go_on = threading.Event()
        self.has_received = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_GET(self):
        if self.path.endswith("/events"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"data: first\n\n")
            self.server.go_on.wait(PATIENCE_SECONDS)
            self.wfile.write(b"data: second\n\n")
            self.close_connection = True
            return
        self._answer(dict(self.headers.items()))

    def _answer(self, told):
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        received = b""
        while size := int(self.rfile.readline(), 16):
            received += self.rfile.read(size)
            self.rfile.readline()
            self.server.has_received.set()
        self.rfile.readline()
        self._answer(received.decode())

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    with Web() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def web():
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def events():
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(web, events, tmp_path_factory):
    """Its address; it serves any name by http."""
    folder = tmp_path_factory.mktemp("caddy")
    port = ports.reserve_any()
    process = child_process.ChildProcess(
        "caddy",
        argv=[CADDY, "run", "--config", str(PROJECT / "Caddyfile"), "--adapter", "caddyfile"],
        env={
            "HOME": str(folder),
            "SITE_ADDRESS": f"http://:{port}",
            "WEB_HOST": "127.0.0.1",
            "WEB_PORT": str(web.server_port),
            "EVENTS_HOST": "127.0.0.1",
            "EVENTS_PORT": str(events.server_port),
            "HEALTH_PORT": str(ports.reserve_any()),
        },
        cwd=folder,
        pid_folder=folder,
        log=folder / "log",
    )
    process.start()
    try:
        wait_for(lambda: not process.running or not ports.is_free(port))
        assert process.running, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def seen(proxy, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(proxy, headers=named, timeout=30).json()


def test_web_is_told_who_called_and_how(proxy):
    told = seen(proxy, Host="api.example.com")

    assert (told["Host"], told["X-Forwarded-For"], told["X-Forwarded-Proto"]) == (
        "api.example.com", "127.0.0.1", "http",
    )  # fmt: skip


def test_what_a_proxy_in_front_says_is_kept_and_what_nobody_says_is_dropped(proxy):
    told = seen(
        proxy,
        X_Forwarded_For="198.51.100.7:40001",
        X_Forwarded_Proto="https",
        Forwarded="for=203.0.113.9",
    )

    # With TRUSTED_PROXIES=2, web then counts the first.
    assert told["X-Forwarded-For"] == "198.51.100.7:40001, 127.0.0.1"
    assert told["X-Forwarded-Proto"] == "https"
    assert "Forwarded" not in told


@pytest.mark.parametrize("path", ["v1/events", "functions/v1/video-jobs/7/events"])
def test_events_are_passed_on_as_they_come(proxy, events, path):
    events.go_on.clear()
    with requests.get(f"{proxy}/{path}", stream=True, timeout=PATIENCE_SECONDS) as stream:
        lines = stream.iter_lines(chunk_size=1)

        # The process of events has not ended its answer, nor sent the second.
        assert next(lines) == b"data: first"
        events.go_on.set()
        assert b"data: second" in list(lines)


def test_a_body_goes_on_before_its_end(proxy, web):
    def body():
        yield b"first"
        assert web.has_received.wait(PATIENCE_SECONDS), "the proxy keeps the body back"
        yield b"second"

    answer = requests.post(proxy, data=body(), timeout=PATIENCE_SECONDS)

    assert (answer.status_code, answer.json()) == (200, "firstsecond")
