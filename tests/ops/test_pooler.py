"""PgBouncer in transaction mode before PostgreSQL: all works, or is refused with the cure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import psycopg
import pytest
import requests
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.utils import ConnectionHandler

from rendio.config import database_url
from rendio.local import pytest_plugin
from rendio.local.data_dir import DataDir
from rendio.local.servers import PostgreSQL
from rendio.local.stack import Stack
from tests.helpers.budget import large
from tests.helpers.debian import Authority, PgBouncer, TlsValkey, needed
from tests.helpers.job_driver import WebPhone, serves, stack_environment
from tests.helpers.wait import wait_for

pytestmark = [needed, large]
# More than the pooler has sessions of PostgreSQL.
AT_ONCE = 16


@pytest.fixture(scope="module")
def servers(tmp_path_factory, django_db_setup):
    """PostgreSQL behind a PgBouncer, and behind one that passes prepared statements on unseen, as
    all did before 1.21, and takes `options` without heeding them."""
    with ExitStack() as started:
        data_dir = DataDir(tmp_path_factory.mktemp("pooler"))
        data_dir.acquire()
        started.callback(data_dir.release)
        if not pytest_plugin.copy_template(data_dir):
            pytest.skip("there is no migrated database to copy: DATABASE_URL is set")
        database = PostgreSQL(
            data_dir, password=data_dir.secrets()["POSTGRES_PASSWORD"], durable=False
        )
        started.callback(database.stop)
        database.start()
        pooler = PgBouncer(data_dir, database_url=database.url)
        old = PgBouncer(
            data_dir,
            database_url=database.url,
            max_prepared_statements=0,
            ignore_startup_parameters="options",
        )
        for one in (pooler, old):
            started.callback(one.stop)
            one.start()
        yield SimpleNamespace(data_dir=data_dir, database=database, pooler=pooler, old=old)


@pytest.fixture
def pooled(settings, django_db_blocker):
    settings.DB_POOLED = True
    with django_db_blocker.unblock():
        yield


@contextmanager
def connected(url, settings):
    """A connection as the processes make it."""
    address = database_url.django_settings(
        database_url.parse(url),
        defaults={"prepare_threshold": 2},
        options="" if settings.DB_POOLED else settings.DATABASES["default"]["OPTIONS"]["options"],
    )
    ours = ConnectionHandler({"default": settings.DATABASES["default"] | address})["default"]
    try:
        ours.ensure_connection()
        yield ours
    finally:
        ours.close()


@pytest.fixture
def limited_role(servers, settings, monkeypatch, django_db_blocker):
    """The role has its limits in this database."""
    name = pytest_plugin.MIGRATED
    monkeypatch.setitem(connection.settings_dict, "NAME", name)
    settings.DATABASE_ADDRESS = database_url.parse(servers.database.url)
    call_command("limit_role", verbosity=0)
    return name


def test_a_role_sets_its_own_limits_without_further_rights(servers, settings, monkeypatch):
    address = database_url.parse(servers.database.url)
    with psycopg.connect(database_url.url(address)) as owner:
        owner.execute("CREATE ROLE plain LOGIN PASSWORD 'of tests'")
    plain = address | {"user": "plain", "password": "of tests"}
    monkeypatch.setitem(connection.settings_dict, "NAME", address["dbname"])
    settings.DATABASE_ADDRESS = plain

    call_command("limit_role")

    with psycopg.connect(database_url.url(plain)) as ours:
        assert ours.execute("SHOW lock_timeout").fetchone() == ("5s",)
    settings.DATABASE_ADDRESS = plain | {"password": "another"}
    with pytest.raises(CommandError, match="password authentication failed"):
        call_command("limit_role")


@pytest.mark.parametrize("which", ["pooler", "old"])
def test_a_pooler_that_nobody_told_of_is_refused(servers, settings, django_db_blocker, which):
    url = getattr(servers, which).url("postgres")

    with (
        django_db_blocker.unblock(),
        pytest.raises(OperationalError, match="set DB_POOLED=true"),
        connected(url, settings),
    ):
        pass


def test_a_role_without_limits_is_refused(servers, settings, pooled):
    with (
        pytest.raises(OperationalError, match=r"no statement_timeout, lock_timeout, idle_\w+"),
        connected(servers.pooler.url("postgres"), settings),
    ):
        pass


def test_a_pooler_that_knows_no_prepared_statements_is_refused(
    servers, settings, limited_role, pooled
):
    for _ in range(2):
        with (
            pytest.raises(OperationalError, match=r"PgBouncer 1\.22 or later"),
            connected(servers.old.url(limited_role), settings),
        ):
            pass


def test_limits_hold_in_every_session_behind_the_pooler(servers, settings, limited_role, pooled):
    with ExitStack() as opened:
        found = set()
        for _ in range(3):  # as many sessions as the pooler has, each in a transaction
            ours = opened.enter_context(connected(servers.pooler.url(limited_role), settings))
            ours.set_autocommit(False)
            cursor = ours.cursor()
            cursor.execute(
                "SELECT pg_backend_pid(), current_setting('statement_timeout'),"
                " current_setting('lock_timeout'),"
                " current_setting('idle_in_transaction_session_timeout')"
            )
            found.add(cursor.fetchone())

    assert len({pid for pid, *_limits in found}) == 3
    assert {tuple(limits) for _pid, *limits in found} == {("15s", "5s", "30s")}


def test_prepared_statements_follow_a_connection_into_another_session(
    servers, settings, limited_role, pooled
):
    with ExitStack() as opened:
        url = servers.pooler.url(limited_role)
        moving, *holding = (
            opened.enter_context(connected(url, settings)).connection for _ in range(3)
        )

        def session():
            cursor = psycopg.Cursor(moving)
            return cursor.execute("SELECT pg_backend_pid()", prepare=True).fetchone()[0]

        found = [session()]
        for other in holding:
            # The session that was used last is the one that the pooler gives next.
            other.autocommit = False
            other.execute("SELECT 1")
            found.append(session())
            with moving.transaction(force_rollback=True):  # psycopg forgets what it prepared
                session()

    assert len(set(found)) == 3


def test_migrations_and_backups_want_postgresql_itself(pooled):
    for command in ("migrate", "backup_drill"):
        with pytest.raises(CommandError, match="DB_POOLED=false"):
            call_command(command)


@pytest.fixture(scope="module")
def service(servers, tmp_path_factory):
    """Web and worker on the pooler, and on a Valkey by TLS."""
    name = pytest_plugin.MIGRATED
    with ExitStack() as started:
        authority = Authority(tmp_path_factory.mktemp("authority"))
        valkey = TlsValkey(servers.data_dir, authority=authority)
        started.callback(valkey.stop)
        valkey.start()
        environment = stack_environment(
            name,
            DB_POOLED="true",
            DB_HANG_SECONDS=1,
            DATABASE_URL=servers.pooler.url(name),
            REDIS_URL=f"{valkey.url}?ssl_ca_certs={authority.file}",
            MEDIA_ROOT=servers.data_dir.media,
        )
        environment.pop("PUBLIC_URL")
        stack = started.enter_context(Stack(data_dir=servers.data_dir, env=environment))
        limit = stack.manage("limit_role")
        limit.start()
        wait_for(lambda: not limit.running)
        stack.start("web", "worker")
        wait_for(lambda: serves(stack.url))
        yield stack


def is_ready(stack):
    ready = requests.get(f"{stack.url}/readyz", timeout=10)
    return ready.json() == {"status": "ok", "database": "ok", "redis": "ok"}


def profiles(stack, phone):
    """The statuses of so many calls at once."""

    def call(_):
        url = f"{stack.url}/v1/get-user-profile"
        return requests.get(url, headers=phone._headers(), timeout=10).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return set(pool.map(call, range(AT_ONCE)))


def test_a_customer_is_served_through_the_pooler(service):
    wait_for(lambda: is_ready(service))
    phone = WebPhone(service.url)
    phone.sign_in()

    [job_id] = phone.order()
    for _ in range(6):  # each statement is prepared, and its sessions change
        assert profiles(service, phone) == {200}

    wait_for(lambda: phone.status(job_id)["status"] == "completed")
    exported = requests.get(
        f"{service.url}/v1/export-user-data", headers=phone._headers(), timeout=30
    )
    assert [job["job_id"] for job in exported.json()["jobs"]] == [job_id]


@pytest.mark.parametrize("which", ["pooler", "database"])
def test_no_call_fails_once_what_restarted_is_back(service, servers, which):
    wait_for(lambda: is_ready(service))
    phone = WebPhone(service.url)
    phone.sign_in()
    assert profiles(service, phone) == {200}
    server = getattr(servers, which)

    server.stop()
    if which == "pooler":
        server.start()
    else:
        server.launch()
        wait_for(server.answers)
        # The pooler asks again each second whether PostgreSQL is there.
        wait_for(lambda: is_ready(service))

    assert profiles(service, phone) == {200}


def test_a_postgresql_that_hangs_behind_the_pooler_is_noticed(service, servers):
    wait_for(lambda: is_ready(service))
    phone = WebPhone(service.url)
    phone.sign_in()

    servers.database.child.pause()
    try:
        # Each call alone would wait for as long as a call may.
        assert profiles(service, phone) == {503}
        wait_for(lambda: "database_silent" in service.log("web").read_text())
    finally:
        servers.database.child.resume()

    wait_for(lambda: profiles(service, phone) == {200})
