"""What the tests of accounts share: an installation of the app, a crash, an odd Apple."""

import base64
import hashlib
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.test import Client

from accounts.apple import identity_tokens
from accounts.installations import public_id
from rendio.common.web import ratelimit
from tests.helpers import fork_server, recorded_sign_in
from tests.helpers.concurrency import waiting_for_locks
from tests.helpers.database import url_of_database
from tests.helpers.phone import Phone
from tests.helpers.wait import PATIENCE_SECONDS


def new_token():
    """Of hardware that nobody has seen."""
    return base64.b64encode(f"sandbox-{uuid4()}".encode()).decode()


class Installation:
    """The app on a phone: its device_id and secret, Apple's token for the hardware, its session."""

    def __init__(self, *, device_id=None, device_token=None, installation_secret=None):
        self.client = Client()
        self.device_id = device_id or str(uuid4())
        self.device_token = device_token or new_token()
        self.installation_secret = installation_secret or uuid4().hex
        self.answer = None
        self.session = None

    @property
    def public_id(self):
        """The short id that stands for the device_id wherever it is shown."""
        return public_id(UUID(self.device_id))

    @property
    def check_body(self):
        """The body of this installation's device-check."""
        return {
            "device_id": self.device_id,
            "device_token": self.device_token,
            "installation_secret": self.installation_secret,
        }

    def check(self):
        answer = self.post("device-check", self.check_body)
        if answer.status_code == 200:
            self.answer = answer.json()
            self.session = self.answer["session"]
        return answer

    def signed_in(self):
        answer = self.check()
        assert answer.status_code == 200, answer.content
        return self

    @property
    def user_id(self):
        return self.answer["user_id"]

    @property
    def refresh_token(self):
        return self.session["refresh_token"]

    def with_new_token(self):
        """The same installation: Apple gives each call another token of the hardware."""
        return Installation(device_id=self.device_id, installation_secret=self.installation_secret)

    def reinstalled(self):
        """The same hardware under a new name."""
        return Installation(device_token=self.device_token)

    def get(self, path, *, access_token=None):
        return self.client.get(f"/v1/{path}", headers=self._headers(access_token))

    def post(self, path, body, *, access_token=None, idempotency_key=None):
        key = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self.client.post(
            f"/v1/{path}",
            body,
            content_type="application/json",
            headers=self._headers(access_token) | key,
        )

    def balance(self):
        return self.get("get-user-credits").json()["credits_remaining"]

    def refresh(self, refresh_token=None):
        return self.post("auth/refresh", {"refresh_token": refresh_token or self.refresh_token})

    def log_out(self, refresh_token=None):
        return self.post("auth/logout", {"refresh_token": refresh_token or self.refresh_token})

    def _headers(self, access_token):
        token = access_token or (self.session and self.session["access_token"])
        return {"Authorization": f"Bearer {token}"} if token else {}


def one_phone(sandbox, *installations):
    """Their tokens are of one piece of hardware from now on."""
    hardware = f"phone {uuid4()}"
    for installation in installations:
        sandbox.control("apple/device", device_token=installation.device_token, hardware=hardware)
    return installations


class Person:
    """Somebody with an Apple account, who signs in on an installation."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.sub = f"001{uuid4().hex}"
        self.email = f"{uuid4().hex[:12]}@example.com"

    def tokens(self, **flaws):
        """The body of a sign-in; `flaws` are what the sandbox is to make wrong with the token."""
        nonce = uuid4().hex
        asked = {
            "sub": self.sub,
            "email": self.email,
            "nonce": hashlib.sha256(nonce.encode()).hexdigest(),
        }
        asked = {name: value for name, value in (asked | flaws).items() if value is not None}
        return self.sandbox.control("apple/identity", **asked) | {"nonce": nonce}

    def signs_in(self, installation, *, tokens=None, keep=True, access_token=None, **flaws):
        answer = installation.post(
            "merge-guest-to-user", tokens or self.tokens(**flaws), access_token=access_token
        )
        if keep and answer.status_code == 200:
            installation.answer |= answer.json()
            installation.session = answer.json()["session"]
        return answer


@pytest.fixture
def new_person(sandbox):
    identity_tokens.keys.clear()
    return lambda: Person(sandbox)


@pytest.fixture
def person(new_person):
    return new_person()


@pytest.fixture
def installation(sandbox):
    """Not yet seen by anybody."""
    return Installation()


@pytest.fixture
def new_installation(sandbox):
    return Installation


def sign_in(installation, sandbox):
    """By the recorded sign-in."""
    if not recorded_sign_in.sign_in(installation, installation.signed_in):
        sandbox.mark_device(installation.device_token)
    return installation


@pytest.fixture
def guest(db, installation, sandbox):
    """Signed in, in the test's own transaction."""
    return sign_in(installation, sandbox)


@pytest.fixture
def new_signed_in(sandbox):
    """Signs in one more guest like `guest`."""
    return lambda: sign_in(Installation(), sandbox)


@pytest.fixture
def committed_guest(committed, installation, sandbox):
    """Signed in for all the world to see."""
    phone = Phone()
    phone.device_id = installation.device_id
    phone.device_token = installation.device_token
    phone.installation_secret = installation.installation_secret
    phone.sign_in_without_apple()
    sandbox.mark_device(phone.device_token)
    installation.answer = {"user_id": str(phone.user_id), "session": phone.session}
    installation.session = phone.session
    return installation


@pytest.fixture
def at_once():
    """Runs calls side by side, each on its own connection; their results in order."""

    def run(*calls):
        barrier = threading.Barrier(len(calls))

        def one(call):
            try:
                barrier.wait(timeout=PATIENCE_SECONDS)
                return call()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))

    return run


@pytest.fixture
def redis_gone(settings):
    """A context in which the limiter's Redis cannot be reached."""

    @contextmanager
    def gone():
        there, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:9/0"
        ratelimit._redis.cache_clear()
        try:
            yield
        finally:
            settings.REDIS_URL = there
            ratelimit._redis.cache_clear()

    return gone


@pytest.fixture
def lock_waiters():
    return waiting_for_locks


STEPS = """
import os
from uuid import UUID
from django.utils import timezone
from accounts.apple import device_check
from accounts.services import InstallationProof, devices, welcome
from tests.helpers.wait import PATIENCE_SECONDS
now = timezone.now()
token = os.environ["TEST_TOKEN"]
about = {"device_id": UUID(os.environ["TEST_DEVICE_ID"]), "device_token": token}
proof = InstallationProof(secret=os.environ["TEST_SECRET"])
seen = welcome.find_free_turn()
bits = device_check.query_bits(token)
"""


class Process:
    """A real process that goes through the steps of a device check and dies on the way."""

    def __init__(self, installation, *lines):
        server = fork_server.application({**os.environ, "DATABASE_URL": url_of_database()})
        self._process = server.start(
            STEPS + "\n".join([*lines, "os._exit(9)"]),
            TEST_DEVICE_ID=installation.device_id,
            TEST_TOKEN=installation.device_token,
            TEST_SECRET=installation.installation_secret,
        )

    def reaches_its_input(self):
        """Until the line `input('here\\n')`."""
        # Before it come the log's lines, such as that of a slow query.
        assert "here\n" in iter(self._process.stdout.readline, ""), self._process.stderr.read()

    def goes_on(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def fails(self):
        """By an exception; gives what Python says of it."""
        _, errors = self._process.communicate(timeout=PATIENCE_SECONDS)
        assert self._process.returncode == 1, errors
        return errors

    def dies(self):
        _, errors = self._process.communicate(timeout=PATIENCE_SECONDS)
        assert self._process.returncode == 9, errors

    def kill(self):
        assert self._process.poll() is None, "it was to be killed on the way, not at its end"
        self._process.kill()
        self._process.communicate(timeout=PATIENCE_SECONDS)
        assert self._process.returncode == -signal.SIGKILL


@pytest.fixture
def process():
    return Process


class Apple:
    """DeviceCheck where the sandbox does not go: odd answers, and all that it was sent."""

    def __init__(self):
        self.answers = []  # (status, body), or None: nothing at all
        self.seen = []
        apple = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.path.rsplit("/", 1)[-1]
                apple.seen.append((operation, body, self.headers["Authorization"]))
                answer = apple.answers.pop(0)
                if answer is None:
                    self.close_connection = True
                    return
                status, text = answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def apple(settings):
    apple = Apple()
    settings.DEVICECHECK_URL = apple.url
    yield apple
    apple.server.shutdown()
    apple.server.server_close()


def error_of(answer):
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def refusal():
    """(status, code) of a refusal."""
    return error_of
