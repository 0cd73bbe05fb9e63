"""`make run`: all of Rendio on one machine, supervised until it is stopped.

Guarantee: a process that dies is restarted; Ctrl-C, SIGTERM or SIGHUP stops everything in order,
each within a limit; after kill -9 no process is left (`child_process`), and the next start has all
committed data. One run at a time uses a data folder; runs with other folders are independent.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from rendio.local import logs, ports
from rendio.local.child_process import ChildProcess
from rendio.local.data_dir import DataDir, DataDirInUse
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey, last_lines
from rendio.local.stack import Stack
from rendio.local.wait import answers, wait_until
from rendio.server import addresses

READY_SECONDS = 90.0
MIGRATE_SECONDS = 600.0
LONGEST_DELAY_SECONDS = 30.0
# After this uptime a death is not a failed start: the next delay is short again.
HEALTHY_SECONDS = 60.0
# As the settings read PLAYGROUND.
ON = {"true", "1", "yes", "on"}


class StartFailed(Exception):
    """Rendio cannot start; the message states the reason and the remedy."""


class StopRequested(Exception):
    """A signal requested the end."""


@dataclass
class SupervisedProcess:
    """A process that is restarted when it dies, with a growing delay."""

    launch: Callable[[], None]
    child: Callable[[], ChildProcess | None]
    deaths: int = 0
    started_at: float = 0.0
    due_at: float | None = None


def run() -> int:
    """Returns the exit code of `python -m rendio.local run`."""
    console = Console(highlight=False, soft_wrap=True)
    data_dir = DataDir.from_environment()
    try:
        data_dir.acquire()
    except DataDirInUse as owner:
        console.print(
            f"Rendio is already running in {data_dir.root} ({owner}).\n"
            "Stop it, or set RENDIO_HOME to another folder to start a second one.",
            style="red",
        )
        return 1
    try:
        return Supervisor(data_dir, console).run()
    finally:
        data_dir.release()


class Supervisor:
    def __init__(self, data_dir: DataDir, console: Console) -> None:
        self._data_dir = data_dir
        self._console = console
        self._stop_asked_at: float | None = None
        self._servers: list[PostgreSQL | Valkey] = []
        self._stack: Stack | None = None
        self._running_command: ChildProcess | None = None
        self._log_output_paused = False
        self._supervised: dict[str, SupervisedProcess] = {}
        self._tails: dict[str, logs.LogTail] = {}

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            while True:
                self._pause(0.2)
        except StopRequested:
            self._print("Stopping.")
            return 0
        except (StartFailed, ServerFailed, ports.NoFreePort) as failure:
            self._show_logs()
            self._console.print(f"{failure}", style="red", markup=False)
            return 1
        finally:
            self._stop()

    def _start(self) -> None:
        port = self._choose_port("PORT", 8000)
        sandbox_port = self._choose_port("SANDBOX_PORT", 9000)
        flower_port = self._choose_port("FLOWER_PORT", 5555)
        events_port = self._choose_port("EVENTS_PORT", 8001)
        env = self._environment(port=port, sandbox_port=sandbox_port)
        self._data_dir.describe_owner(f"pid {os.getpid()}, {env['PUBLIC_URL']}")
        self._print(f"Starting Rendio. Data folder: {_short(self._data_dir.root)}")
        self._start_servers(env)
        ours = {
            name: value
            for name, value in env.items()
            # The settings refuse server addresses without ENVIRONMENT.
            if not os.environ.get(name) or name == "ENVIRONMENT"
        }
        self._data_dir.show_environment(ours)
        self._stack = stack = Stack(
            data_dir=self._data_dir,
            env=env,
            port=port,
            sandbox_port=sandbox_port,
            flower_port=flower_port,
            events_port=events_port,
        )
        self._launch("sandbox")
        self._finish(stack.manage("prepare_database"))
        self._print("database   migrated")
        for name in ("web", "events", "worker", "beat"):
            self._launch(name)
        self._wait_until_ready()
        # Last: no order needs Flower, and its imports would delay the others.
        self._launch("flower")
        if env.get("JOURNEY") != "0":
            self._run_journey()
        self._print_addresses(env, flower_port=flower_port)

    def _choose_port(self, variable: str, default: int) -> int:
        wanted = os.environ.get(variable)
        if not wanted:
            port = ports.reserve_from(default)
            if port != default:
                self._print(f"Port {default} is in use: using {port} (set {variable} to choose).")
            return port
        if not wanted.isdigit() or not 0 < int(wanted) < 65536:
            raise StartFailed(f"{variable} must be a port number, not {wanted!r}.")
        if ports.is_reserved(int(wanted)):
            raise StartFailed(f"{variable} is {wanted}, which another process of this run uses.")
        if not ports.reserve(int(wanted)):
            raise StartFailed(f"{variable} is {wanted}, and that port is in use on 127.0.0.1.")
        return int(wanted)

    def _environment(self, *, port: int, sandbox_port: int) -> dict[str, str]:
        """The environment of the processes. The caller's environment wins."""
        secrets = self._data_dir.secrets()
        ours = {
            "ENVIRONMENT": "development",
            "PUBLIC_URL": addresses.url(
                {"ADDRESS": os.environ.get("ADDRESS") or addresses.LOOPBACK, "PORT": str(port)}
            ),
            "SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
            "RENDIO_HOME": str(self._data_dir.root),
            "MEDIA_ROOT": str(self._data_dir.media),
            "PLAYGROUND": "true",
            **self._data_dir.sandbox_authority(),
            **secrets,
        }
        env = ours | {name: value for name, value in os.environ.items() if value}
        # RENDIO_HOME may be relative to the folder in which we were started.
        env["RENDIO_HOME"] = str(self._data_dir.root)
        # One folder for web and worker: /metrics covers both on one machine.
        env.setdefault("PROMETHEUS_MULTIPROC_DIR", str(self._data_dir.fresh_metrics()))
        # Always the password that the database was created with.
        env["POSTGRES_PASSWORD"] = secrets["POSTGRES_PASSWORD"]
        env.setdefault("FLOWER_BASIC_AUTH", f"staff:{env['FLOWER_PASSWORD']}")
        return env

    def _start_servers(self, env: dict[str, str]) -> None:
        if not env.get("DATABASE_URL"):
            database = PostgreSQL(self._data_dir, password=env["POSTGRES_PASSWORD"])
            self._start_server(database)
            env["DATABASE_URL"] = database.url
        if not env.get("REDIS_URL"):
            valkey = Valkey(self._data_dir)
            self._start_server(valkey)
            env["REDIS_URL"] = valkey.url
        # With ENVIRONMENT=production the settings refuse embedded servers.
        env["RENDIO_EMBEDDED"] = " and ".join(server.name for server in self._servers)

    def _start_server(self, server: PostgreSQL | Valkey) -> None:
        self._tail_log(server.name)
        self._servers.append(server)
        server.start(self._pause)
        self._supervise(server.name, server.launch, lambda: server.child)
        self._print(f"{server.name:<9}  127.0.0.1:{server.port}")

    def _launch(self, name: str) -> None:
        stack = self._running_stack()
        self._tail_log(name)
        stack.start(name)
        self._supervise(name, lambda: stack.start(name), lambda: stack.children.get(name))

    def _running_stack(self) -> Stack:
        if self._stack is None:
            raise StartFailed("The application's processes have not been set up yet.")
        return self._stack

    def _tail_log(self, name: str) -> None:
        log = self._data_dir.logs / f"{name}.log"
        logs.rotate(log)
        self._tails[name] = logs.LogTail(name, log)

    def _finish(self, command: ChildProcess) -> None:
        """Run a management command to its end. Raises StartFailed."""
        if command.log:
            logs.rotate(command.log)
        self._running_command = command
        command.start()
        in_time = wait_until(
            lambda: not command.running, timeout_seconds=MIGRATE_SECONDS, pause=self._pause
        )
        command.kill()
        self._running_command = None
        if (not in_time or command.exit_code) and command.log:
            raise StartFailed(f"{command.name} failed:\n{last_lines(command.log, 30)}")

    def _wait_until_ready(self) -> None:
        stack = self._running_stack()
        web = stack.children["web"]

        url = f"{stack.url}/readyz"
        wait_until(
            lambda: not web.running or answers(url),
            timeout_seconds=READY_SECONDS,
            pause=self._pause,
        )
        if not web.running or not answers(url):
            raise StartFailed(
                f"web did not start. The end of its log:\n{last_lines(stack.log('web'))}"
            )
        self._print(f"web        {stack.url}")

    def _run_journey(self) -> None:
        """Show one customer's journey through the API in this terminal."""
        stack = self._running_stack()
        command = [sys.executable, "-m", "rendio.local", "journey"]
        self._running_command = journey = stack.child("journey", command, log=None)
        # Like Ctrl-C: the journey restores the cursor before it ends.
        journey.stop_signal = signal.SIGINT
        self._console.file.flush()
        self._log_output_paused = True  # a log line would tear its progress bars
        journey.start()
        # The journey limits its own waiting; only a signal ends this wait.
        wait_until(lambda: not journey.running, timeout_seconds=3600, pause=self._pause)
        journey.kill()
        self._running_command, self._log_output_paused = None, False
        if journey.exit_code:
            self._console.print(
                f"The journey failed (exit code {journey.exit_code}); see the logs in"
                f" {_short(self._data_dir.logs)}. Rendio is still running.",
                style="red",
            )

    def _print_addresses(self, env: dict[str, str], *, flower_port: int) -> None:
        url = env["PUBLIC_URL"]
        lines = {
            **({"playground": f"{url}/"} if env["PLAYGROUND"] in ON else {}),
            "API": f"{url}/v1/",
            "events": f"{self._running_stack().events_url}/v1/events",
            "docs": f"{url}/docs",
            "admin": f"{url}/admin/",
            "Flower": f"http://127.0.0.1:{flower_port}/  "
            + env["FLOWER_BASIC_AUTH"].replace(":", " / ", 1),
            "sandbox": env["SANDBOX_URL"],
            "logs": _short(self._data_dir.logs),
            "staff login": f"{env['STAFF_USERNAME']} / {env['STAFF_PASSWORD']}",
        }
        self._console.print()
        for label, value in lines.items():
            self._print(f"{label:<11}  {value}")
        self._console.print("\nPress Ctrl-C to stop everything.", style="dim")
        self._console.file.flush()

    # --- While it runs ------------------------------------------------------------------------

    def _pause(self, seconds: float) -> None:
        """All waiting happens here, so that signals are handled and dead processes restarted."""
        time.sleep(seconds)
        if self._stop_asked_at is not None:
            raise StopRequested
        if not self._log_output_paused:
            self._show_logs()
        for name, supervised in self._supervised.items():
            self._restart_if_dead(name, supervised)

    def _supervise(
        self, name: str, launch: Callable[[], None], child: Callable[[], ChildProcess | None]
    ) -> None:
        self._supervised[name] = SupervisedProcess(launch, child, started_at=time.monotonic())

    def _restart_if_dead(self, name: str, supervised: SupervisedProcess) -> None:
        now = time.monotonic()
        if supervised.due_at is not None:
            if now >= supervised.due_at:
                supervised.launch()
                supervised.due_at, supervised.started_at = None, now
            return
        child = supervised.child()
        if child is None or child.running:
            return
        exit_code = child.exit_code
        child.kill()  # remaining processes of its group
        if now - supervised.started_at > HEALTHY_SECONDS:
            supervised.deaths = 0
        delay = min(2.0**supervised.deaths, LONGEST_DELAY_SECONDS)
        supervised.deaths += 1
        supervised.due_at = now + delay
        how = f"signal {-exit_code}" if exit_code and exit_code < 0 else f"exit code {exit_code}"
        self._console.print(f"{name} ended ({how}); restarting in {delay:.0f} s", style="red")

    def _show_logs(self) -> None:
        for tail in self._tails.values():
            for line in tail.new_lines():
                self._console.print(line)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)
        self._console.file.flush()

    # --- The end ------------------------------------------------------------------------------

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
        elif now - self._stop_asked_at > 1 and self._stack:
            # A second signal, not the same key press passed on by make: stop waiting.
            for child in self._stack.children.values():
                if child.pid and child.running:
                    os.kill(child.pid, signal.SIGKILL)

    def _stop(self) -> None:
        """Stop the processes that accept work first, and the servers last."""
        self._supervised.clear()
        if self._running_command:
            self._running_command.stop()
        if self._stack:
            for name in self._stack.stop():
                self._print(f"{name} did not stop in time and was killed.")
        for server in reversed(self._servers):
            server.stop()
        self._console.file.flush()


def _short(path: Path) -> str:
    """The path relative to the current folder, if it is inside."""
    try:
        return os.fspath(path.relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)
