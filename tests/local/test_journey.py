"""`python -m rendio.local journey` where it is refused; test_run.py sees it reach its end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from rendio.local.data_dir import PROJECT

REFUSAL = b"""{"error": {"code": "ERR_4004", "type": "RATE_LIMITED",
    "message": "Too many requests. Please wait.", "details": {"retry_after": 7}}}"""


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(429)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(REFUSAL)))
        self.end_headers()
        self.wfile.write(REFUSAL)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def refusing_api() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def journey(public_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rendio.local", "journey"],
        cwd=PROJECT,
        env=os.environ | {"PUBLIC_URL": public_url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_refusal_ends_it_with_what_the_api_said(refusing_api):
    ended = journey(refusing_api)

    assert ended.returncode != 0
    assert ended.stderr.splitlines() == [
        "The journey ends here. device-check: Too many requests. Please wait."
        " (429 ERR_4004) {'retry_after': 7}"
    ]


def test_no_answer_ends_it_with_the_address():
    ended = journey("http://127.0.0.1:1")

    assert ended.returncode != 0
    assert ended.stderr.splitlines() == [
        "The journey ends here. device-check: no answer from http://127.0.0.1:1 (ConnectionError)."
    ]
    assert ended.stdout.splitlines() == ["", "A customer's journey against http://127.0.0.1:1"]
