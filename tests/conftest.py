"""What tests share: the database without flushes, a phone, the sandbox's controls."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases
from psycopg import sql

from accounts import languages
from accounts.models import WelcomeTurn
from generation.catalogue import cache as cache_catalogue
from generation.models import ProviderHealth
from generation.moderation.blocklist import blocklist
from generation.video_files import process as decoding_process
from rendio.common import clock
from rendio.local import pytest_plugin
from rendio.local.child_process import ChildProcess
from tests.helpers import budget, fork_server, recorded_catalogue, recorded_sign_in, shared_stack
from tests.helpers.database import connected_to
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox

HAS_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run the large tests, and with four times the examples the fuzz tests and machines",
    )


def pytest_configure(config: pytest.Config) -> None:
    ChildProcess.launch = staticmethod(fork_server.launch)
    decoding_process.launch = fork_server.decode
    recorded_catalogue.install()
    settings.MIDDLEWARE = [
        # Whatever a test asks, and whatever it is about.
        "tests.helpers.openapi_conformance.OpenApiConformance",
        *settings.MIDDLEWARE,
    ]
    # Real password hashes take a third of a second each.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    config.addinivalue_line("markers", "budgeted: tries more examples with --thorough")
    config.addinivalue_line("markers", "large: runs with --thorough, or where its file is named")
    budget.is_thorough = config.getoption("--thorough")


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [item for item in items if not budget.is_selected(item, config.args)]
    config.hook.pytest_deselected(items=others)
    items[:] = shared_stack.sort([i for i in items if budget.is_selected(i, config.args)])


def pytest_collection_finish() -> None:
    # Half a million objects that stay: the garbage collector need not look at them again.
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    shared_stack.stop_if_unused(nextitem, has_failed=item.stash.get(HAS_FAILED, False))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The sandbox as after its start, before the test, and as unscripted after it."""
    controls = Sandbox()
    controls.reset()
    yield controls
    if controls.is_scripted:
        controls.reset()


@pytest.fixture
def new_guest(db: None, sandbox: Sandbox) -> Callable[[], Phone]:
    """Signs in a guest on a phone of its own, with 10 credits."""

    def sign_in() -> Phone:
        phone = Phone()
        if not recorded_sign_in.sign_in(phone, phone.sign_in):
            sandbox.mark_device(phone.device_token)
        return phone

    return sign_in


@pytest.fixture
def phone(new_guest: Callable[[], Phone]) -> Phone:
    """A guest who has just signed in, with 10 credits."""
    return new_guest()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens: bound, so that nobody else takes it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(autouse=True)
def _clean_counters(settings: Any) -> None:
    """Rate limits start anew with each test; those that test them set their own."""
    recorded_sign_in.begin_test()
    caches["default"].clear()
    _counters().flushdb()
    settings.RATE_LIMITS = {name: (0, window) for name, (_, window) in settings.RATE_LIMITS.items()}
    cache_catalogue.invalidate()
    recorded_catalogue.begin_test()
    clock.reset()
    languages.changed.clear()
    blocklist.invalidate_cache()


@cache
def _counters() -> Any:
    """A client for all tests: the cache would make one for each time that it is cleared."""
    return caches["counters"]._cache.get_client(write=True)


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
        with pytest_plugin.template_lock():
            _make_migrated_database(name)
    connections.close_all()
    _on_server("CREATE DATABASE {} TEMPLATE {}", name, pytest_plugin.MIGRATED)
    connection.settings_dict["NAME"] = name
    # No migration makes these, today's code decides: permissions, and the groups of staff.
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    return [(connection, real_name, True)]


def _make_migrated_database(name: str) -> None:
    """By the migrations, or as another process of this run has made it meanwhile."""
    connections.close_all()
    if pytest_plugin.replace_by_template():
        return
    setup_databases(verbosity=0, interactive=False)
    connections.close_all()
    _on_server("ALTER DATABASE {} RENAME TO {}", name, pytest_plugin.MIGRATED)
    pytest_plugin.save_template()


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
    shared_stack.stop()  # where the last test of all used it
    with django_db_blocker.unblock():
        connection.creation.destroy_test_db(suffix="committed", verbosity=0)


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
