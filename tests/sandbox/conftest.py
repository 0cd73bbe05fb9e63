import json
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.helpers import fork_server
from tests.helpers.storekit import AppStore
from tests.helpers.wait import PATIENCE_SECONDS, wait_for


class Sandbox:
    """A client of the sandbox under test."""

    KEY = "Key id-of-a-tester:secret-of-a-tester"
    MODEL = "fal-ai/sora-2/text-to-video"
    VIDEO = {"prompt": "A cat on a windowsill", "duration": 4, "aspect_ratio": "9:16"}
    wait_for = staticmethod(wait_for)

    def __init__(self, url):
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=10, trust_env=False)

    def control(self, name, **body):
        response = self.http.post(f"/control/{name}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def fal(self, **settings):
        return self.control("provider", provider="fal", **settings)

    def jobs(self):
        return self.http.get("/control/jobs", params={"provider": "fal"}).json()["jobs"]

    def requests(self, provider="fal"):
        answer = self.http.get("/control/requests", params={"provider": provider})
        return answer.json()["requests"]

    def submit(self, model=MODEL, body=VIDEO, webhook=None, **kwargs):
        params = {"fal_webhook": webhook} if webhook else {}
        return self.http.post(
            f"/fal/queue/{model}",
            json=body,
            params=params | kwargs.pop("params", {}),
            headers={"Authorization": self.KEY} | kwargs.pop("headers", {}),
            **kwargs,
        )

    def submitted(self, *args, **kwargs):
        response = self.submit(*args, **kwargs)
        assert response.status_code == 200, response.text
        return response.json()

    def get(self, url, **kwargs):
        return self.http.get(url, headers={"Authorization": self.KEY}, **kwargs)

    def put(self, url):
        return self.http.put(url, headers={"Authorization": self.KEY})

    def completed(self, job):
        """The status of a job once it says COMPLETED."""

        def look():
            response = self.get(job["status_url"], params={"logs": 1})
            return response if response.json()["status"] == "COMPLETED" else None

        return wait_for(look)

    def result(self, job):
        self.completed(job)
        return self.get(job["response_url"])


class Receiver:
    """Where webhooks go: keeps what came, answers as told (200 once nothing is left to say)."""

    def __init__(self):
        self.answers = []
        self.deliveries = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.deliveries.append(
                    {
                        "path": self.path,
                        "headers": dict(self.headers),
                        "body": body,
                        "at": time.time(),
                    }
                )
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/fal?job=abc"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def wait_for(self, count):
        wait_for(lambda: len(self.deliveries) >= count)
        return self.deliveries

    def first(self):
        return json.loads(self.wait_for(1)[0]["body"])


def started_sandbox(**environment):
    """A new process, its address and its first line."""
    variables = os.environ | environment
    process = fork_server.module("sandbox", "--port", "0", environment=variables)
    line = process.stdout.readline()
    assert line, process.stderr.read()
    url = line.split()[-1]
    wait_for(lambda: _is_healthy(url))
    return process, url, line


def _is_healthy(url):
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).json() == {"status": "ok"}
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def served():
    process, url, _ = started_sandbox()
    yield Sandbox(url)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    _, errors = process.communicate()
    assert errors == ""
    assert process.returncode == 0


@pytest.fixture
def sandbox(served):
    """The sandbox as after a start, but quick."""
    served.control("reset")
    served.fal(queue_seconds=0, run_seconds=0.05)
    return served


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def own_process():
    """A sandbox of the test's own, to be stopped by it."""
    process, url, line = started_sandbox()
    yield process, Sandbox(url), line
    if process.poll() is None:
        process.kill()
        process.communicate()


@pytest.fixture
def raw_submit(sandbox):
    """Sends a submission byte by byte and gives the socket it went out on."""
    sockets = []

    def send(model=Sandbox.MODEL, body=Sandbox.VIDEO):
        host, port = sandbox.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        sockets.append(connection)
        content = json.dumps(body).encode()
        head = (
            f"POST /fal/queue/{model} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: {Sandbox.KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + content)
        return connection

    yield send
    for connection in sockets:
        connection.close()


@pytest.fixture
def app_store(sandbox):
    return AppStore(sandbox)
