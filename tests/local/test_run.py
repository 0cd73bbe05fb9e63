"""`python -m rendio.local run`, which is `make run`, as real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import requests
from psycopg import sql

from rendio.local import pytest_plugin
from rendio.local.child_process import command_line
from rendio.local.data_dir import PROJECT, DataDir
from rendio.local.servers import PostgreSQL
from rendio.local.wait import answers
from tests.helpers.budget import large
from tests.helpers.wait import wait_for
from tests.local.conftest import Supervisor, alive, fresh_environment, groups_of, pid_of

EVERYTHING = {"postgres", "valkey", "sandbox", "web", "events", "worker", "beat", "flower"}


def names_in(data_dir: Path) -> set[str]:
    return {file.stem.rpartition("-")[0] for file in (data_dir / "pids").glob("*.pid")}


def address(output: str, label: str) -> str:
    found = re.search(rf"^{label} +(\S+)", output, re.MULTILINE)
    assert found, output
    return found[1].rstrip("/")


def users(data_dir: Path) -> int:
    """Rows that a journey has committed, read from the running home."""
    return count(data_dir, "accounts_user")


def count(data_dir: Path, table: str) -> int:
    password = dict(
        line.split("=", 1) for line in (data_dir / "secrets.env").read_text().splitlines()[1:]
    )["POSTGRES_PASSWORD"]
    pid = pid_of(data_dir, "postgres")
    port = command_line(pid).split(" -p ")[1].split()[0]
    with psycopg.connect(
        host="127.0.0.1", port=port, user="rendio", password=password, dbname="rendio"
    ) as connection:
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        ).fetchone()
    return row[0]


def prepare_database(data_dir: DataDir) -> None:
    """Give the home a database in which all but one migration is applied, from the template of this
    test run. Without a template the home stays empty, and the start migrates for longer."""
    if not pytest_plugin.copy_template(data_dir):
        return
    database = PostgreSQL(data_dir, password=data_dir.secrets()["POSTGRES_PASSWORD"], durable=False)
    database.start()
    server = database.url.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE rendio")
        connection.execute(f"ALTER DATABASE {pytest_plugin.MIGRATED} RENAME TO rendio")
    with psycopg.connect(database.url) as connection:
        connection.execute("DROP TABLE django_session")
        connection.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    database.stop()


def manage(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "rendio.local", "manage", *arguments],
        cwd=PROJECT,
        env=fresh_environment(data_dir),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_beside_nothing_says_what_is_missing(supervisor):
    beside_nothing = manage(supervisor.data_dir, "prove_ledger")

    assert beside_nothing.returncode == 1
    assert beside_nothing.stderr.startswith(
        f"Nothing is running in {supervisor.data_dir}. Start it"
    )


@large
def test_it_plays_the_journey_revives_what_dies_and_survives_its_own_end(supervisor):
    """One start for several promises: it takes seconds."""
    owned = DataDir(supervisor.data_dir)
    owned.acquire()
    prepare_database(owned)
    owned.release()
    data_dir = owned.root
    supervisor = Supervisor(data_dir, JOURNEY="full")
    supervisor.start()
    supervisor.wait_for("staff login")

    # The migration that was missing.
    assert count(data_dir, "django_session") == 0

    # The journey, readable without a terminal.
    assert "\x1b" not in supervisor.output
    assert "balance before 10, after 28" in supervisor.output
    assert "4, refunded" in supervisor.output
    assert "the phone shows: Your video is ready" in supervisor.output
    assert "the phone shows: Your image is ready" in supervisor.output
    assert "the phone shows: Your video could not be made: Your 4 credits are back." in (
        supervisor.output
    )
    assert "Squares is trained" in supervisor.output
    files = list((data_dir / "journey").iterdir())
    assert sorted(file.suffix for file in files) == [".jpg", ".jpg", ".mp4"]
    assert all(str(file) in supervisor.output for file in files)

    # The addresses, and a dashboard that lets nobody in without its login.
    assert re.search(r"^staff login  staff / \S+$", supervisor.output, re.MULTILINE)
    web = address(supervisor.output, "API").removesuffix("/v1")
    playground = f"playground   {web}/"
    assert supervisor.output.index(playground) < supervisor.output.index("API  ")
    assert "playground/js/main.js" in requests.get(f"{web}/", timeout=30).text
    flower = address(supervisor.output, "Flower")
    login = re.search(r"^Flower .* (\S+) / (\S+)$", supervisor.output, re.MULTILINE)
    assert answers(f"{web}/readyz")
    assert requests.get(f"{flower}/workers", timeout=30).status_code == 401
    assert requests.get(f"{flower}/api/tasks", auth=("staff", "x"), timeout=30).status_code == 401
    assert requests.get(f"{flower}/workers", auth=login.groups(), timeout=30).ok
    # Nor does its login stop a worker.
    stop = f"{flower}/api/worker/shutdown/low@here"
    assert requests.post(stop, auth=login.groups(), timeout=30).status_code == 403
    # What tasks were given is nobody's to see. Of a task received before Flower, it knows None.
    tasks = requests.get(f"{flower}/api/tasks", auth=login.groups(), timeout=30).json()
    assert {task["name"] for task in tasks.values()} >= {"generation.submit_due"}
    assert not any(task["args"] or task["kwargs"] for task in tasks.values())
    assert all(login[2] not in command_line(group) for group in groups_of(data_dir))

    # A second start in the same home.
    second = subprocess.run(
        [sys.executable, "-m", "rendio.local", "run"],
        cwd=PROJECT,
        env=fresh_environment(data_dir),
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"pid {supervisor.process.pid}, {web}" in second.stdout

    # A command beside it, on its servers.
    proved = manage(data_dir, "prove_ledger")
    assert proved.stdout == "The ledger adds up: 8 entries in 1 wallet.\n", proved.stderr
    assert (data_dir / "environment.json").stat().st_mode & 0o077 == 0

    # What is killed is started again, the database included.
    killed = {name: pid_of(data_dir, name) for name in ("worker", "postgres")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    for name, pid in killed.items():
        wait_for(lambda name=name, pid=pid: pid_of(data_dir, name) not in (None, pid))
        assert f"{name} ended (signal 9); restarting" in supervisor.output
    wait_for(lambda: answers(f"{web}/readyz"))
    committed = users(data_dir)
    assert committed >= 2  # the staff's and the guest

    # Nothing outlives the supervisor, and the next start finds what was committed.
    groups = groups_of(data_dir)
    assert names_in(data_dir) == EVERYTHING
    supervisor.end(signal.SIGKILL)
    assert "Nothing is running" in manage(data_dir, "prove_ledger").stderr
    wait_for(lambda: not alive(groups), describe=lambda: alive(groups))
    again = Supervisor(data_dir, JOURNEY="0")
    again.start()
    again.wait_for("staff login")
    assert users(data_dir) == committed
    assert re.findall("^staff login.*", again.output, re.MULTILINE) == re.findall(
        "^staff login.*", supervisor.output, re.MULTILINE
    )

    # A polite end stops all of it.
    groups = groups_of(data_dir)
    assert again.end(signal.SIGTERM) == 0
    assert alive(groups) == []
    assert names_in(data_dir) == set()


@large
def test_given_servers_are_used_and_none_is_embedded(supervisor):
    nowhere = "127.0.0.1:1"
    supervisor = Supervisor(
        supervisor.data_dir,
        DATABASE_URL=f"postgresql://nobody@{nowhere}/none",
        REDIS_URL=f"redis://{nowhere}/0",
    )

    supervisor.start()

    assert supervisor.process.wait(120) == 1
    assert "prepare_database failed" in supervisor.output
    assert "port 1 failed" in supervisor.output
    assert not (supervisor.data_dir / "postgres").exists()
    assert not (supervisor.data_dir / "valkey").exists()
    assert names_in(supervisor.data_dir) == set()


def test_a_port_that_was_asked_for_and_is_taken_stops_the_start(supervisor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        supervisor = Supervisor(supervisor.data_dir, FLOWER_PORT=str(port))

        supervisor.start()

        assert supervisor.process.wait(60) == 1
    assert f"FLOWER_PORT is {port}, and that port is in use" in supervisor.output
    assert not (supervisor.data_dir / "postgres").exists()


def test_one_port_for_two_is_refused_before_anything_starts(supervisor):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    supervisor = Supervisor(supervisor.data_dir, PORT=port, SANDBOX_PORT=port)

    supervisor.start()

    assert supervisor.process.wait(60) == 1
    assert f"SANDBOX_PORT is {port}, which another process of this run uses." in supervisor.output
    assert not (supervisor.data_dir / "postgres").exists()


def test_a_stop_during_the_start_leaves_nothing(supervisor):
    supervisor.start()
    supervisor.wait_for("valkey ")
    groups = groups_of(supervisor.data_dir)

    code = supervisor.end(signal.SIGINT)

    assert code == 0
    assert groups
    assert alive(groups) == []
    assert names_in(supervisor.data_dir) == set()
