"""The application's own processes on one machine: their names and commands.

The Procfile is the same table for production.
"""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rendio.local import ports
from rendio.local.child_process import ChildProcess
from rendio.local.data_dir import PROJECT, DataDir
from rendio.server import addresses

# Processes that accept work stop before those that do it.
STOP_ORDER = ["events", "web", "worker", "beat", "flower", "sandbox"]


@dataclass(frozen=True)
class Command:
    name: str
    argv: list[str]
    # If this process dies, there is no graceful end: its children end at once, and the next start
    # continues their work as after any crash.
    death_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0


def commands(
    *, data_dir: DataDir, bind: str, sandbox_port: int, flower_port: int
) -> dict[str, Command]:
    """The commands, in start order."""
    python = [sys.executable, "-m"]
    # Root is normal here: silence the worker's warning.
    as_root = "ignore:You're running the worker with superuser privileges"
    celery = [*python, "celery", "--quiet", "--app=rendio"]
    listed = [
        Command("sandbox", [*python, "sandbox", "--port", str(sandbox_port)]),
        Command(
            "web",
            [
                *[*python, "gunicorn", "--config=python:rendio.gunicorn_conf", "rendio.wsgi"],
                *["--workers=2", f"--bind={bind}"],
            ],
            death_signal=signal.SIGQUIT,
        ),
        Command("events", [*python, "rendio.events"]),
        Command(
            "worker",
            [sys.executable, "-W", as_root, "-m", "rendio.worker"],
            # Celery's faster shutdowns wait for the broker, which died with us. Child processes end
            # when the pipe closes.
            death_signal=signal.SIGKILL,
        ),
        Command("beat", [*celery, "beat", f"--schedule={data_dir.root / 'beat-schedule'}"]),
        # The login is in FLOWER_BASIC_AUTH: a command line is public.
        Command("flower", [*celery, "flower", "--address=127.0.0.1", f"--port={flower_port}"]),
    ]
    return {command.name: command for command in listed}


class Stack:
    """The application as real processes, on running servers.

    `make run` supervises one; a test can own one and kill its processes:

        with Stack(data_dir=data_dir, env=os.environ | {"DATABASE_URL": url}) as stack:
            stack.start("web", "worker")
            stack.kill("worker")

    `env` is the environment of the processes, with PUBLIC_URL set to the web process by default.
    This process must own the data folder (`DataDir.acquire`).
    """

    def __init__(
        self,
        *,
        data_dir: DataDir,
        env: Mapping[str, str],
        port: int | None = None,
        sandbox_port: int | None = None,
        flower_port: int | None = None,
        events_port: int | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = port or ports.reserve_any()
        self.events_port = events_port or ports.reserve_any()
        listens = {"ADDRESS": env.get("ADDRESS") or addresses.LOOPBACK, "PORT": str(self.port)}
        self.url = addresses.url(listens)
        self.events_url = addresses.url({**listens, "PORT": str(self.events_port)})
        self.env = {
            "PUBLIC_URL": self.url,
            # No proxy is in front of web and events.
            "PLAYGROUND_EVENTS_URL": self.events_url,
            "CORS_ALLOWED_ORIGINS": f"{self.url},http://localhost:{self.port}",
            "PYTHONUNBUFFERED": "1",
            **env,
            "EVENTS_PORT": str(self.events_port),
        }
        self.commands = commands(
            data_dir=data_dir,
            bind=addresses.bind(listens),
            sandbox_port=sandbox_port or ports.reserve_any(),
            flower_port=flower_port or ports.reserve_any(),
        )
        self.children: dict[str, ChildProcess] = {}

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log(self, name: str) -> Path:
        return self.data_dir.logs / f"{name}.log"

    def start(self, *names: str) -> None:
        for name in names:
            command = self.commands[name]
            self.children[name] = self.child(name, command.argv, log=self.log(name))
            self.children[name].death_signal = command.death_signal
            self.children[name].stop_seconds = command.stop_seconds
            self.children[name].start()

    def stop(self, *names: str) -> list[str]:
        """Stop gracefully; without names all of them. Returns the processes that were killed."""
        stopping = {name: self.children.pop(name, None) for name in names or STOP_ORDER}
        children = {name: child for name, child in stopping.items() if child}
        for name, child in children.items():
            if name != "sandbox":  # running work of the others may still need it
                child.request_stop()
        return [name for name, child in children.items() if not child.stop()]

    def kill(self, name: str) -> None:
        """SIGKILL, as when the machine fails."""
        self.children[name].kill()

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def child(self, name: str, argv: list[str], *, log: Path | None) -> ChildProcess:
        """A process in the stack's environment, not yet started."""
        return ChildProcess(
            name,
            argv=argv,
            env=self.env,
            cwd=PROJECT,
            pid_folder=self.data_dir.pids,
            log=log,
        )

    def manage(self, *arguments: str) -> ChildProcess:
        """A management command, not yet started; its log has its name."""
        argv = [sys.executable, os.fspath(PROJECT / "manage.py"), *arguments]
        return self.child(arguments[0], argv, log=self.log(arguments[0]))
