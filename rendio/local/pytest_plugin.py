"""Gives each test run servers of its own: PostgreSQL, Valkey and the sandbox.

Loaded by `-p rendio.local.pytest_plugin` (pyproject.toml says so), before Django's settings are.
DATABASE_URL, REDIS_URL and SANDBOX_URL, where set, are used instead, each on its own. Everything of
a run lies under RENDIO_HOME/test/<pid> and goes with it; what a run that was killed has left, the
next one removes. Two runs, or a run beside `make run`, share nothing; nor do the processes of one
parallel run (pytest-xdist), each of which is here a run of its own.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rendio.local import ports
from rendio.local.home import Home, HomeInUse
from rendio.local.processes import Stack
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey
from rendio.local.waiting import answers, wait_until


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # The settings refuse servers of which nobody says what they are for.
    os.environ["ENVIRONMENT"] = "development"
    if early_config.known_args_namespace.numprocesses and "PYTEST_XDIST_WORKER" not in os.environ:
        # Only hands the tests to its workers, each of which comes by here.
        _refuse_to_share()
        return
    with ExitStack() as started:
        try:
            home = started.enter_context(own_home())
            _start_servers(home, started)
        except ServerFailed as failure:
            raise pytest.UsageError(str(failure)) from failure
        early_config.add_cleanup(started.pop_all().close)


def _refuse_to_share() -> None:
    """Each test starts by emptying these, under the feet of its neighbours."""
    for name in ("REDIS_URL", "SANDBOX_URL"):
        if os.environ.get(name):
            raise pytest.UsageError(
                f"{name} is set, and is one for all of them: run with ARGS='-n 0'."
            )


def _start_servers(home: Home, started: ExitStack) -> None:
    secrets = home.secrets()
    port = ports.reserve_any()
    sandbox_port = ports.reserve_any()
    os.environ |= {
        "RENDIO_HOME": str(home.root),
        "MEDIA_ROOT": str(home.media),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        # Tests of races run more threads than a web process has.
        "WELCOME_WAITERS": "64",
        **secrets,
    }
    own_sandbox = not os.environ.get("SANDBOX_URL")
    if own_sandbox:
        # First, because it takes longest to come up.
        os.environ["SANDBOX_URL"] = f"http://127.0.0.1:{sandbox_port}"
        os.environ |= home.sandbox_authority()
        stack = Stack(home=home, env=os.environ, port=port, sandbox_port=sandbox_port)
        started.callback(stack.stop)
        stack.start("sandbox")
    if not os.environ.get("DATABASE_URL"):
        database = PostgreSQL(home, password=secrets["POSTGRES_PASSWORD"], durable=False)
        started.callback(database.stop)
        database.start()
        os.environ["DATABASE_URL"] = database.url
    if not os.environ.get("REDIS_URL"):
        valkey = Valkey(home, durable=False)
        started.callback(valkey.stop)
        valkey.start()
        os.environ["REDIS_URL"] = valkey.url
    if own_sandbox:
        wait_for_sandbox(stack)


def wait_for_sandbox(stack: Stack) -> None:
    """Until the stack's sandbox answers. Raises ServerFailed."""
    sandbox = stack.children["sandbox"]

    url = f"{stack.env['SANDBOX_URL']}/control/requests"
    wait_until(lambda: not sandbox.running or answers(url), timeout_seconds=60)
    if not sandbox.running or not answers(url):
        log = stack.log("sandbox").read_text(errors="replace")
        raise ServerFailed(f"The sandbox does not start:\n{log}")


@contextmanager
def own_home() -> Iterator[Home]:
    """A home for this run, removed at the end; those of dead runs are removed first."""
    runs = Home.from_environment().root / "test"
    for folder in (runs.parent, runs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # One at a time, so that a run which has just made its folder is not taken for a dead one.
    with (runs / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in runs.iterdir():
            if folder.is_dir():
                _remove_if_dead(folder)
        home = Home(runs / str(os.getpid()))
        home.acquire()
    try:
        yield home
    finally:
        shutil.rmtree(home.root, ignore_errors=True)
        home.release()


def _remove_if_dead(folder: Path) -> None:
    home = Home(folder)
    try:
        home.acquire()
    except HomeInUse:
        return
    shutil.rmtree(folder, ignore_errors=True)
    home.release()
