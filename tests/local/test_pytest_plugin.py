"""A test run has servers of its own, and takes them with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from rendio.local import pytest_plugin
from rendio.local.data_dir import PROJECT, DataDir
from rendio.local.pytest_plugin import own_home
from rendio.local.servers import PostgreSQL
from tests.helpers.budget import large
from tests.helpers.wait import wait_for
from tests.local.conftest import alive, fresh_environment, groups_of

WRITES_ITS_ENVIRONMENT = """
import json, os, pathlib, time

def test_it():
    told = pathlib.Path(os.environ["TOLD"])
    told.with_suffix(".new").write_text(json.dumps(dict(os.environ)))
    told.with_suffix(".new").rename(told)
    while os.environ["WAIT"] == "yes":
        time.sleep(0.1)
"""


def start_run(
    folder: Path, name: str, *options: str, wait: bool, **added: str
) -> subprocess.Popen[bytes]:
    test = folder / f"test_{name}.py"
    test.write_text(WRITES_ITS_ENVIRONMENT)
    told = {"TOLD": str(folder / f"{name}.json"), "WAIT": "yes" if wait else "no"}
    environment = fresh_environment(folder / "home", **told, **added)
    # As in a terminal of its own, also when this test runs in one of several processes.
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.Popen(  # noqa: S603
        [
            *[sys.executable, "-m", "pytest", "-p", "rendio.local.pytest_plugin", *options],
            *["-p", "no:django", "-p", "no:cacheprovider", "-c", "/dev/null", str(test)],
        ],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def told(folder: Path, name: str) -> dict[str, str]:
    file = folder / f"{name}.json"
    wait_for(file.exists)
    return json.loads(file.read_text())


@large
def test_two_runs_share_nothing_and_the_next_removes_what_a_killed_one_left(tmp_path, monkeypatch):
    killed = start_run(tmp_path, "killed", wait=True)
    polite = start_run(tmp_path, "polite", wait=False)
    output, _ = polite.communicate(timeout=120)
    first, second = told(tmp_path, "killed"), told(tmp_path, "polite")

    assert polite.returncode == 0, output.decode()
    for name in ("DATABASE_URL", "REDIS_URL", "SANDBOX_URL", "PUBLIC_URL", "RENDIO_HOME"):
        assert first[name] != second[name]
    assert not Path(second["RENDIO_HOME"]).exists()

    groups = groups_of(Path(first["RENDIO_HOME"]))
    assert len(groups) == 3
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    wait_for(lambda: not alive(groups), describe=lambda: alive(groups))
    assert Path(first["RENDIO_HOME"]).exists()

    monkeypatch.setenv("RENDIO_HOME", str(tmp_path / "home"))
    with own_home() as home:
        assert not Path(first["RENDIO_HOME"]).exists()
        assert home.root.exists()
    assert not home.root.exists()


def test_template_that_another_process_made_replaces_the_cluster(tmp_path, monkeypatch):
    if not pytest_plugin._template().exists():
        pytest.skip("The servers of this run are not its own.")
    data_dir = DataDir(tmp_path)
    data_dir.acquire()
    database = PostgreSQL(data_dir, password=data_dir.secrets()["POSTGRES_PASSWORD"], durable=False)
    database.start()
    monkeypatch.setattr(pytest_plugin, "_own_database", (data_dir, database))

    try:
        assert pytest_plugin.replace_by_template()

        url = f"{database.url.rpartition('/')[0]}/{pytest_plugin.MIGRATED}"
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1 FROM django_migrations LIMIT 1").fetchone()
    finally:
        database.stop()
        data_dir.release()


def test_parallel_processes_do_not_share_what_each_test_empties(tmp_path):
    run = start_run(tmp_path, "shared", "-n", "2", wait=False, REDIS_URL="redis://127.0.0.1:1/0")

    output, _ = run.communicate(timeout=120)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "REDIS_URL is set" in output.decode()


@pytest.mark.parametrize("name", ["REDIS_URL", "SANDBOX_URL"])
def test_each_server_that_a_test_empties_is_refused_by_name(monkeypatch, name):
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("SANDBOX_URL", raising=False)
    pytest_plugin._refuse_to_share()
    monkeypatch.setenv(name, "http://127.0.0.1:1")

    with pytest.raises(pytest.UsageError, match=f"^{name} is set"):
        pytest_plugin._refuse_to_share()
