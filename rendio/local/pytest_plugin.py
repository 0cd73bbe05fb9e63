"""Start separate servers for each test run: PostgreSQL, Valkey and the sandbox.

Loaded by `-p rendio.local.pytest_plugin` (in pyproject.toml), before Django's settings.
DATABASE_URL, REDIS_URL and SANDBOX_URL, if set, replace the respective server. The data of a run is
in RENDIO_HOME/test/<pid> and is deleted at its end; the next run deletes the data of a run that was
killed. Two runs, or a run beside `make run`, share nothing. Each process of a parallel run
(pytest-xdist) is a run of its own.

Migrating takes longer than most tests. So the first run keeps its migrated database as a template
cluster in RENDIO_HOME/test-template/<fingerprint of the migrations>, and later runs copy the
template.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from rendio.local import ports
from rendio.local.data_dir import PROJECT, DataDir, DataDirInUse
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey
from rendio.local.stack import Stack
from rendio.local.wait import answers, wait_until

# In a cluster made from the template: the migrated database, without any test's rows.
MIGRATED = "rendio_migrated"
_own_database: tuple[DataDir, PostgreSQL] | None = None


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Two processes for each core: half of the time a test waits, for a process or a deadline."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # The settings refuse server addresses without ENVIRONMENT.
    os.environ["ENVIRONMENT"] = "development"
    if early_config.known_args_namespace.numprocesses and "PYTEST_XDIST_WORKER" not in os.environ:
        # This process only distributes the tests; each worker runs this function itself.
        _refuse_to_share()
        return
    with ExitStack() as started:
        try:
            data_dir = started.enter_context(own_home())
            _start_servers(data_dir, started)
        except ServerFailed as failure:
            raise pytest.UsageError(str(failure)) from failure
        early_config.add_cleanup(started.pop_all().close)


def _refuse_to_share() -> None:
    """Each test empties these servers first, so processes that share them disturb each other."""
    for name in ("REDIS_URL", "SANDBOX_URL"):
        if os.environ.get(name):
            raise pytest.UsageError(
                f"{name} is set, and all processes would share it: run with ARGS='-n 0'."
            )


def _start_servers(data_dir: DataDir, started: ExitStack) -> None:
    global _own_database
    if not os.environ.get("DATABASE_URL"):
        copy_template(data_dir)
    secrets = data_dir.secrets()
    port = ports.reserve_any()
    sandbox_port = ports.reserve_any()
    os.environ |= {
        "RENDIO_HOME": str(data_dir.root),
        "MEDIA_ROOT": str(data_dir.media),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        # Tests of races run more threads than a web process has.
        "WELCOME_WAITERS": "64",
        **secrets,
    }
    own_sandbox = not os.environ.get("SANDBOX_URL")
    if own_sandbox:
        # First, because it takes longest to come up.
        os.environ["SANDBOX_URL"] = f"http://127.0.0.1:{sandbox_port}"
        os.environ |= data_dir.sandbox_authority()
        stack = Stack(data_dir=data_dir, env=os.environ, port=port, sandbox_port=sandbox_port)
        started.callback(stack.stop)
        stack.start("sandbox")
    if not os.environ.get("DATABASE_URL"):
        database = PostgreSQL(data_dir, password=secrets["POSTGRES_PASSWORD"], durable=False)
        started.callback(database.stop)
        database.start()
        os.environ["DATABASE_URL"] = database.url
        _own_database = data_dir, database
    if not os.environ.get("REDIS_URL"):
        valkey = Valkey(data_dir, durable=False)
        started.callback(valkey.stop)
        valkey.start()
        os.environ["REDIS_URL"] = valkey.url
    if own_sandbox:
        wait_for_sandbox(stack)


def owns_database() -> bool:
    """Whether PostgreSQL is this run's own, and not the one that DATABASE_URL named."""
    return _own_database is not None


@contextmanager
def template_lock() -> Iterator[None]:
    """Held by the process that makes the template, while parallel ones wait for its copy."""
    folder = _template().parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace_by_template() -> bool:
    """Replace this run's cluster, which holds nothing yet, by a copy of the template, under the
    password that DATABASE_URL has. False if there is no template.

    Restarts PostgreSQL: the caller has closed its connections.
    """
    if _own_database is None or not _template().exists():
        return False
    data_dir, database = _own_database
    template = DataDir(_template())
    database.stop()
    shutil.rmtree(data_dir.root / "postgres")
    _copy(template.root / "postgres", data_dir.root / "postgres")
    copied = PostgreSQL(data_dir, password=template.secrets()["POSTGRES_PASSWORD"], durable=False)
    copied.port = database.port
    copied.launch()
    copied.wait()
    database.child = copied.child
    password = sql.Literal(data_dir.secrets()["POSTGRES_PASSWORD"])
    with psycopg.connect(copied.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(password))
    return True


def save_template() -> None:
    """Keep this run's cluster, which has a database MIGRATED, for the runs after it.

    Restarts PostgreSQL: the caller has closed its connections.
    """
    if _own_database is None or _template().exists():
        return
    data_dir, database = _own_database
    template = _template()
    unfinished = template.with_name(f"new-{os.getpid()}")
    unfinished.mkdir(mode=0o700, parents=True)
    database.stop()
    _copy(data_dir.root / "postgres", unfinished / "postgres")
    _copy(data_dir.secrets_file, unfinished / "secrets.env")
    database.launch()
    database.wait()
    for old in template.parent.iterdir():
        # Another run may be writing its template: only finished templates are deleted.
        if old.is_dir() and old != template and not old.name.startswith("new-"):
            shutil.rmtree(old, ignore_errors=True)
    try:
        unfinished.rename(template)
    except OSError:  # a parallel process was quicker
        shutil.rmtree(unfinished, ignore_errors=True)


def copy_template(data_dir: DataDir) -> bool:
    """Copy the template cluster, with its secrets, into a data folder without a cluster. False if
    there is no template."""
    template = _template()
    try:
        _copy(template / "secrets.env", data_dir.secrets_file)
        _copy(template / "postgres", data_dir.root / "postgres")
    except subprocess.CalledProcessError:
        # There is none, or a run after a new migration is replacing it.
        data_dir.secrets_file.unlink(missing_ok=True)
        shutil.rmtree(data_dir.root / "postgres", ignore_errors=True)
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    """With owners and modes: the data belongs to the user that PostgreSQL runs as."""
    subprocess.run(  # noqa: S603
        ["cp", "-Rp", str(source), str(target)],  # noqa: S607
        check=True,
        stderr=subprocess.DEVNULL,
    )


def _template() -> Path:
    """The name is a fingerprint of the migrations, their order and everything that affects them."""
    runs = DataDir.from_environment().root
    # A run's own home lies under RENDIO_HOME/test; the template is for all of them.
    root = runs.parent.parent if runs.parent.name == "test" else runs
    fingerprint = hashlib.sha256()
    migrations = sorted(PROJECT.glob("*/migrations/*.py"))
    for file in [*migrations, PROJECT / "requirements-dev.txt", PROJECT / "rendio/settings.py"]:
        fingerprint.update(f"{file.relative_to(PROJECT)}\n".encode() + file.read_bytes())
    return root / "test-template" / fingerprint.hexdigest()[:16]


def wait_for_sandbox(stack: Stack) -> None:
    """Wait until the stack's sandbox answers. Raises ServerFailed."""
    sandbox = stack.children["sandbox"]

    url = f"{stack.env['SANDBOX_URL']}/control/requests"
    wait_until(lambda: not sandbox.running or answers(url), timeout_seconds=60)
    if not sandbox.running or not answers(url):
        log = stack.log("sandbox").read_text(errors="replace")
        raise ServerFailed(f"The sandbox does not start:\n{log}")


@contextmanager
def own_home() -> Iterator[DataDir]:
    """A home for this run, removed at the end; those of dead runs are removed first."""
    runs = DataDir.from_environment().root / "test"
    for folder in (runs.parent, runs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # One at a time, so that a run which has just made its folder is not taken for a dead one.
    with (runs / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in runs.iterdir():
            if folder.is_dir():
                _remove_if_dead(folder)
        data_dir = DataDir(runs / str(os.getpid()))
        data_dir.acquire()
    try:
        yield data_dir
    finally:
        shutil.rmtree(data_dir.root, ignore_errors=True)
        data_dir.release()


def _remove_if_dead(folder: Path) -> None:
    data_dir = DataDir(folder)
    try:
        data_dir.acquire()
    except DataDirInUse:
        return
    shutil.rmtree(folder, ignore_errors=True)
    data_dir.release()
