"""PostgreSQL and Valkey from their wheels: theirs is what was committed, whatever ends them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from rendio.local import pytest_plugin
from rendio.local import servers as servers_module
from rendio.local.child_process import ChildProcess
from rendio.local.data_dir import PROJECT, DataDir, DataDirInUse
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey
from tests.helpers.budget import large
from tests.helpers.wait import wait_for
from tests.local.conftest import alive, fresh_environment, groups_of

HOLD = """
import sys, time
from pathlib import Path
from rendio.local.data_dir import DataDir
from rendio.local.servers import PostgreSQL, Valkey

data_dir = DataDir(Path(sys.argv[1]))
data_dir.acquire()
database = PostgreSQL(data_dir, password=data_dir.secrets()["POSTGRES_PASSWORD"])
valkey = Valkey(data_dir)
database.start()
valkey.start()
print(database.url, valkey.url, flush=True)
time.sleep(600)
"""


@pytest.fixture
def home_with_cluster(data_dir) -> DataDir:
    """Copied from the template of this run: the other tests run initdb."""
    pytest_plugin.copy_template(data_dir)
    return data_dir


@contextmanager
def servers(data_dir: DataDir) -> Iterator[tuple[PostgreSQL, Valkey]]:
    database = PostgreSQL(data_dir, password=data_dir.secrets()["POSTGRES_PASSWORD"])
    valkey = Valkey(data_dir)
    try:
        database.start()
        valkey.start()
        yield database, valkey
    finally:
        valkey.stop()
        database.stop()


def remember(database_url: str, valkey_url: str, value: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])
    with redis.Redis.from_url(valkey_url) as connection:
        connection.set("kept", value)


def remembered(database: PostgreSQL, valkey: Valkey) -> tuple[list[str], str | None]:
    with psycopg.connect(database.url) as connection:
        rows = [row[0] for row in connection.execute("SELECT value FROM kept")]
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        return rows, client.get("kept")


def test_what_was_stored_is_there_after_a_restart(home_with_cluster):
    with servers(home_with_cluster) as (database, valkey):
        remember(database.url, valkey.url, "first")

    with servers(home_with_cluster) as (database, valkey):
        assert remembered(database, valkey) == (["first"], "first")


def test_killing_the_holder_leaves_nothing_and_loses_no_commit(tmp_path):
    root = tmp_path / "home"
    holder = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLD, str(root)],
        cwd=PROJECT,
        env=fresh_environment(root),
        stdout=subprocess.PIPE,
        text=True,
    )
    database_url, valkey_url = holder.stdout.readline().split()
    remember(database_url, valkey_url, "committed")
    # Unacknowledged work in both servers while they lose their holder.
    busy = psycopg.connect(database_url)
    busy.execute("INSERT INTO kept VALUES ('not committed')")
    groups = groups_of(root)

    holder.kill()
    holder.wait()

    assert len(groups) == 2
    wait_for(lambda: not alive(groups), describe=lambda: alive(groups))
    data_dir = DataDir(root)
    data_dir.acquire()
    with servers(data_dir) as (database, valkey):
        assert remembered(database, valkey) == (["committed"], "committed")
    data_dir.release()


def test_killed_servers_start_again_with_what_was_committed(home_with_cluster):
    with servers(home_with_cluster) as (database, valkey):
        remember(database.url, valkey.url, "committed")
        database.child.kill()
        valkey.child.kill()
        # They name a process that lives, and is not PostgreSQL.
        lock = home_with_cluster.root / "postgres" / "data" / "postmaster.pid"
        lock.write_text("\n".join([str(os.getpid()), *lock.read_text().splitlines()[1:]]))

        database.start()
        valkey.start()

        assert remembered(database, valkey) == (["committed"], "committed")


@large
def test_two_homes_do_not_meet(tmp_path):
    first, second = DataDir(tmp_path / "first"), DataDir(tmp_path / "second")
    first.acquire()
    second.acquire()

    with servers(first) as one, servers(second) as other:
        remember(one[0].url, one[1].url, "one")
        remember(other[0].url, other[1].url, "other")

        assert remembered(*one) == (["one"], "one")
        assert remembered(*other) == (["other"], "other")
        stranger = one[0].url.replace(f":{one[0].port}/", f":{other[0].port}/")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(stranger)


def test_they_listen_on_loopback_only(home_with_cluster):
    with servers(home_with_cluster) as (database, valkey):
        with psycopg.connect(database.url) as connection:
            addresses = connection.execute("SHOW listen_addresses").fetchone()
            sockets = connection.execute("SHOW unix_socket_directories").fetchone()
        with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
            bound = client.config_get("bind", "maxmemory-policy", "appendonly")

        assert (addresses, sockets) == (("127.0.0.1",), ("",))
        assert bound == {
            "bind": "127.0.0.1",
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
        }


@large
def test_below_a_closed_folder_all_works_and_the_folder_stays_closed(tmp_path, monkeypatch):
    """As in a clone that only root may enter: as root, PostgreSQL runs as somebody else."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wheel = Path(servers_module.postgres_binary("postgres")).parents[2]
    shutil.copytree(wheel / "pginstall18", closed / wheel.name / "pginstall18", symlinks=True)
    for libraries in wheel.parent.glob(f"{wheel.name}.libs"):
        shutil.copytree(libraries, closed / libraries.name)
    binaries = closed / wheel.name / "pginstall18" / "bin"
    monkeypatch.setattr(servers_module, "postgres_binary", lambda name: str(binaries / name))
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in (closed, tmp_path)]
    data_dir = DataDir(closed / "home")
    data_dir.acquire()

    with servers(data_dir) as (database, valkey):
        remember(database.url, valkey.url, "kept")
        runs_as = subprocess.run(  # noqa: S603
            ["ps", "-o", "uid=", "-p", str(database.child.pid)],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )

    after = [(folder.stat().st_mode, folder.stat().st_uid) for folder in (closed, tmp_path)]
    assert after == before
    assert int(runs_as.stdout) != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs setpriv")
def test_root_without_setpriv_is_told_what_to_do(data_dir, monkeypatch):
    monkeypatch.setenv("PATH", str(data_dir.root))

    with pytest.raises(ServerFailed, match=r"setpriv.*ordinary user, or set DATABASE_URL"):
        PostgreSQL(data_dir, password="unused").start()


def test_another_password_than_the_data_has_is_explained(home_with_cluster):
    with servers(home_with_cluster):
        pass
    stranger = PostgreSQL(home_with_cluster, password="another")

    with pytest.raises(ServerFailed, match=r"another password .* secrets\.env"):
        stranger.start()

    stranger.stop()


def test_a_home_has_one_owner(data_dir):
    with pytest.raises(DataDirInUse, match=f"pid {os.getpid()}"):
        DataDir(data_dir.root).acquire()


def test_secrets_are_made_once_and_are_nobody_elses(data_dir):
    made = data_dir.secrets()

    assert data_dir.secrets() == made
    assert data_dir.secrets_file.stat().st_mode & 0o777 == 0o600
    assert all(value and not value.startswith("$") for value in made.values())


def test_leftovers_are_stopped_by_the_next_owner_and_strangers_are_not(data_dir):
    """As where no parent-death signal is: the pid files alone."""
    child = ChildProcess(
        "leftover",
        argv=[sys.executable, "-c", "import time; time.sleep(600)"],
        env={},
        cwd=data_dir.root,
        pid_folder=data_dir.pids,
        log=None,
        death_signal=None,
    )
    child.start()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    # The number of one that has ended meanwhile belongs to somebody else now.
    record = json.loads(next(data_dir.pids.glob("leftover-*.pid")).read_text())
    reused = record | {"pid": stranger.pid, "identity": "started earlier"}
    (data_dir.pids / f"old-{stranger.pid}.pid").write_text(json.dumps(reused))
    data_dir.release()

    DataDir(data_dir.root).acquire()

    assert not child.running
    assert stranger.poll() is None
    assert list(data_dir.pids.iterdir()) == []
    stranger.kill()
    stranger.wait()


def test_children_are_refused_to_threads_that_may_end(data_dir):
    """Linux would end the child with the thread."""
    valkey = Valkey(data_dir)
    refused: list[str] = []

    def start() -> None:
        try:
            valkey.start()
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert refused == ["Child processes are started from the main thread only."]
