"""PostgreSQL and Redis by TLS: whose certificate cannot be verified is told nothing."""

from __future__ import annotations

import os

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.utils import ConnectionHandler

from rendio.config import database_url
from rendio.local import pytest_plugin
from rendio.local.data_dir import DataDir
from tests.helpers import fork_server
from tests.helpers.budget import large
from tests.helpers.debian import POSTGRESQL, Authority, TlsPostgreSQL, TlsValkey, needed

SHOW_TLS = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    print(cursor.fetchone()[0])
"""


def manage(*arguments, **environment):
    return fork_server.manage(*arguments, environment=os.environ | environment)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another authority, which has signed nothing here."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = DataDir(tmp_path_factory.mktemp("tls"))
    data_dir.acquire()
    yield data_dir
    data_dir.release()


@pytest.fixture(scope="module")
def database(data_dir, authority):
    server = TlsPostgreSQL(
        data_dir, password=data_dir.secrets()["POSTGRES_PASSWORD"], authority=authority
    )
    server.start()
    yield server
    server.stop()


def test_a_postgresql_without_tls_is_not_spoken_to_where_the_address_wants_it(authority):
    if not pytest_plugin.owns_database():
        pytest.skip("DATABASE_URL names a server that may know TLS")

    shown = manage(
        *["shell", "--verbosity=0", "--command", SHOW_TLS],
        DATABASE_URL=f"{os.environ['DATABASE_URL']}?sslmode=verify-full"
        f"&sslrootcert={authority.file}",
    )

    assert shown.returncode != 0
    assert "does not support SSL" in shown.stderr


def connect(url):
    """As the processes do with this DATABASE_URL; whether TLS protects the connection."""
    address = database_url.django_settings(
        database_url.parse(url),
        defaults={},
        options=settings.DATABASES["default"]["OPTIONS"]["options"],
    )
    ours = ConnectionHandler({"default": settings.DATABASES["default"] | address})["default"]
    try:
        with ours.cursor() as cursor:
            cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return cursor.fetchone()[0]
    finally:
        ours.close()


@needed
def test_postgresql_is_verified_as_the_address_says(
    database, authority, stranger, django_db_blocker
):
    address = f"{database.url}?sslmode=verify-full&sslrootcert="

    with django_db_blocker.unblock():
        assert connect(f"{address}{authority.file}")
        with pytest.raises(OperationalError, match="certificate verify failed"):
            connect(f"{address}{stranger.file}")
        with pytest.raises(OperationalError, match='does not match host name "localhost"'):
            connect(f"{address}{authority.file}&host=localhost")


@large
@needed
def test_the_backup_drill_verifies_as_the_address_says(
    database, authority, stranger, settings, monkeypatch, django_db_blocker
):
    monkeypatch.setitem(connection.settings_dict, "NAME", "rendio")
    address = f"{database.url}?sslmode=verify-full&sslrootcert="

    with django_db_blocker.unblock():
        settings.DATABASE_ADDRESS = database_url.parse(f"{address}{stranger.file}")
        with pytest.raises(CommandError, match=r"pg_dump(.|\n)*certificate verify failed"):
            call_command("backup_drill", bin=POSTGRESQL)
        settings.DATABASE_ADDRESS = database_url.parse(f"{address}{authority.file}")
        # Dumped and restored; an empty database is of no release.
        with pytest.raises(CommandError, match=r"manage\.py migrate failed"):
            call_command("backup_drill", bin=POSTGRESQL)


# Limiter, cache, Celery, Flower and the health pages: is each of them served?
ASK_REDIS = """
import asyncio

from celery import current_app
from django.core.cache import caches
from flower.utils.broker import Broker
from rendio.celery import app
from rendio.common.web import ratelimit
from rendio.health import _redis_state


def broker():
    with current_app.connection_for_write() as connection:
        connection.default_channel.client.ping()


def flower():
    broker = Broker(
        app.connection().as_uri(include_password=True),
        broker_options=app.conf.broker_transport_options,
        broker_use_ssl=app.conf.broker_use_ssl,
    )
    asyncio.run(broker.queues(["high"]))


def is_served(ask):
    try:
        ask()
    except Exception:
        return False
    return True


print(
    is_served(lambda: ratelimit.count({"default_per_user": "somebody"})),
    is_served(lambda: caches["counters"].set("a", 1)),
    is_served(broker),
    is_served(flower),
    _redis_state() == "ok",
)
"""


@pytest.fixture(scope="module")
def valkey(data_dir, authority):
    server = TlsValkey(data_dir, authority=authority)
    server.start()
    yield server
    server.stop()


@large
@needed
@pytest.mark.parametrize("is_known", [True, False])
def test_redis_is_verified_by_all_alike(valkey, authority, is_known):
    # Celery's word for `required`. Of the system's authorities none has signed the certificate.
    query = f"?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={authority.file}" if is_known else ""

    asked = manage(
        *["shell", "--verbosity=0", "--command", ASK_REDIS],
        REDIS_URL=f"{valkey.url}{query}",
    )

    assert asked.stdout.splitlines()[-1:] == [" ".join([str(is_known)] * 5)], asked.stderr
