"""What tests share: the database without flushes, a phone, the sandbox's controls."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from django.conf import settings
from django.core.cache import caches
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection, connections
from django.test import Client
from django.test.utils import setup_databases, teardown_databases
from psycopg import sql

from accounts.models import WelcomeTurn
from generation.catalogue import cache as cache_catalogue
from generation.models import ProviderHealth
from generation.moderation.blocklist import blocklist
from rendio.common import clock
from rendio.config import database_url
from rendio.local import pytest_plugin
from tests.helpers import budget, recorded_sign_in


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run the fuzz tests and stateful machines alone, with four times the examples",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "budgeted: tries more examples with --thorough")
    budget.is_thorough = config.getoption("--thorough")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if budget.is_thorough:
        others = [item for item in items if item.get_closest_marker("budgeted") is None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("budgeted")]


SORA = UUID("00000000-0000-4000-8000-000000000003")
VEO = UUID("00000000-0000-4000-8000-000000000001")
GEN = UUID("00000000-0000-4000-8000-000000000007")
WAN = UUID("00000000-0000-4000-8000-000000000008")


class Sandbox:
    """The outside world's controls."""

    _http = requests.Session()
    _http.trust_env = False

    def __init__(self) -> None:
        self.url = os.environ["SANDBOX_URL"]

    def control(self, path: str, **body: Any) -> Any:
        answer = self._http.post(f"{self.url}/control/{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def provider(self, **body: Any) -> None:
        self.control("provider", **{"provider": "fal"} | body)

    def requests(self, provider: str = "fal") -> list[dict[str, Any]]:
        answer = requests.get(
            f"{self.url}/control/requests", params={"provider": provider}, timeout=30
        )
        found: list[dict[str, Any]] = answer.json()["requests"]
        return found

    def revoked(self) -> list[dict[str, Any]]:
        """What Apple was told to revoke."""
        answer = requests.get(f"{self.url}/control/apple/revoked", timeout=30)
        found: list[dict[str, Any]] = answer.json()["tokens"]
        return found

    def pushes(self, token: str | None = None) -> list[dict[str, Any]]:
        """What APNs was sent, to all phones or to one."""
        sent = requests.get(f"{self.url}/control/pushes", timeout=30).json()["pushes"]
        return [push for push in sent if token in (None, push["token"])]

    def jobs(self, provider: str = "fal") -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/control/jobs", params={"provider": provider}, timeout=30)
        found: list[dict[str, Any]] = answer.json()["jobs"]
        return found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The sandbox as after its start, before and after the test."""
    controls = Sandbox()
    controls.control("reset")
    yield controls
    controls.control("reset")


def assert_refused(answer: Any, status: int, code: str) -> Any:
    """The answer is this refusal of the catalogue; gives its details for a closer look."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.content
    return answer.json()["error"]["details"]


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run all acts at the same moment, each in a thread with a database connection of its own."""
    barrier = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(number: int, act: Callable[[], Any]) -> None:
        try:
            barrier.wait(timeout=30)
            results[number] = act()
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number, act)) for number, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    errors = [result for result in results if isinstance(result, Exception)]
    assert not errors, errors
    return results


def waiting_for_locks(table: str) -> int:
    """How many connections wait with a statement about `table`."""
    with connection.cursor() as cursor:
        # Within a transaction the view would say for ever what it said first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE %s",
            [f"%{table}%"],
        )
        [count] = cursor.fetchone()
    return int(count)


class Phone:
    """A guest's phone: signs in and calls the API as the app does, in this process."""

    def __init__(self, client: Client | None = None) -> None:
        self.client = client or Client()
        self.device_id = str(uuid4())
        self.device_token = base64.b64encode(f"sandbox-{uuid4()}".encode()).decode()
        self.installation_secret = uuid4().hex
        self.session: dict[str, Any] = {}
        self.user_id: UUID | None = None
        self.language: str | None = None  # what the phone is set to, if it says

    @property
    def check_body(self) -> dict[str, Any]:
        """The body of this phone's device-check."""
        return {
            "device_id": self.device_id,
            "device_token": self.device_token,
            "installation_secret": self.installation_secret,
        }

    def sign_in(self) -> Phone:
        answer = self.post("device-check", self.check_body)
        assert answer.status_code == 200, answer.content
        self.session = answer.json()["session"]
        self.user_id = UUID(answer.json()["user_id"])
        return self

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/v1/{path}", query, headers=self._headers())

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.post(
            f"/v1/{path}",
            body if body is not None else {},
            content_type="application/json",
            headers=self._headers() | {name.replace("_", "-"): v for name, v in headers.items()},
        )

    def generate(self, *, key: str | None = None, **body: Any) -> Any:
        order = {"model_id": str(SORA), "prompt": "A red balloon over the sea"} | body
        return self.post("generate-video", order, Idempotency_Key=key or str(uuid4()))

    def register_for_pushes(self, **changes: str) -> str:
        """Gives the token, one that no phone has had."""
        token = uuid4().hex * 2
        body = {"token": token, "platform": "ios"} | changes
        assert self.post("register-push-token", body).status_code == 200
        return body["token"]

    def balance(self) -> int:
        remaining: int = self.get("get-user-credits").json()["credits_remaining"]
        return remaining

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Language": self.language} if self.language else {}
        if self.session:
            headers["Authorization"] = f"Bearer {self.session['access_token']}"
        return headers


@pytest.fixture
def phone(db: None, sandbox: Sandbox) -> Phone:
    """A guest who has just signed in, with 10 credits."""
    phone = Phone()
    if not recorded_sign_in.sign_in(phone):
        sandbox.control("apple/device", device_token=phone.device_token, bit0=True, bit1=False)
    return phone


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens: bound, so that nobody else takes it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(autouse=True)
def _answers_are_as_described(settings: Any) -> None:
    """Whatever a test asks, and whatever it is about."""
    settings.MIDDLEWARE = [
        "tests.helpers.openapi_conformance.AnswersAsDescribed",
        *settings.MIDDLEWARE,
    ]


@pytest.fixture(autouse=True)
def _clean_counters(settings: Any) -> None:
    """Rate limits start anew with each test; those that test them set their own."""
    for cache in caches.all(initialized_only=False):
        cache.clear()
    settings.RATE_LIMITS = {name: (0, window) for name, (_, window) in settings.RATE_LIMITS.items()}
    cache_catalogue.invalidate()
    clock.reset()
    blocklist.invalidate_cache()


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: Any
) -> Iterator[None]:
    """The test database, also when only tests of `committed` run; one for each parallel process.

    pytest-django's own makes it only for tests that ask for `db`; the others then met the real one.
    """
    with django_db_blocker.unblock():
        if pytest_plugin.owns_database():
            databases = _copy_migrated_database()
        else:
            databases = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(databases, verbosity=0)


def _copy_migrated_database() -> Any:
    """The test database as a copy of MIGRATED, which the first run makes and keeps for the others.

    Gives what teardown_databases takes.
    """
    real_name = connection.settings_dict["NAME"]
    name = connection.creation._get_test_db_name()
    if not _has_migrated_database():
        setup_databases(verbosity=0, interactive=False)
        connections.close_all()
        _on_server("ALTER DATABASE {} RENAME TO {}", name, pytest_plugin.MIGRATED)
        pytest_plugin.save_template()
    connections.close_all()
    _on_server("CREATE DATABASE {} TEMPLATE {}", name, pytest_plugin.MIGRATED)
    connection.settings_dict["NAME"] = name
    # No migration makes these, today's code decides: permissions, and the groups of staff.
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    return [(connection, real_name, True)]


def _has_migrated_database() -> bool:
    with connection.creation._nodb_cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [pytest_plugin.MIGRATED])
        return cursor.fetchone() is not None


def _on_server(statement: str, *databases: str) -> None:
    """About the databases, so on a connection to none of them."""
    with connection.creation._nodb_cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, databases)))


@pytest.fixture(scope="session")
def committed_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of a second test database, where commits are real.

    What they leave is not seen by the tests of `db`, which find only what the migrations made, in
    whatever order and beside whatever others they run.
    """
    with django_db_blocker.unblock():
        connection.creation.clone_test_db(suffix="committed", verbosity=0)
    yield connection.creation.get_test_db_clone_settings("committed")["NAME"]
    with django_db_blocker.unblock():
        connection.creation.destroy_test_db(suffix="committed", verbosity=0)


def url_of_database() -> str:
    """DATABASE_URL for a process on the database of the test, with all that this run's says."""
    return database_url.url(
        settings.DATABASE_ADDRESS | {"dbname": connection.settings_dict["NAME"]}
    )


@contextmanager
def connected_to(name: str) -> Iterator[None]:
    """All threads' new connections go to this database."""
    before = connection.settings_dict["NAME"]
    connections.close_all()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = before


@pytest.fixture
def committed(committed_database: str, django_db_blocker: Any) -> Iterator[None]:
    """Real commits, for races and processes.

    Nothing is flushed afterwards (the ledger refuses it, and other tests need the catalogue): such
    a test works with users of its own and leaves no job unfinished.
    """
    with django_db_blocker.unblock(), connected_to(committed_database):
        yield
        # What its sandbox did to the breakers.
        ProviderHealth.objects.all().delete()
        # A process that died in its turn would keep the next test's phones waiting.
        WelcomeTurn.objects.update(claim=None, leased_until=None)
