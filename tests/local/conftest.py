"""What the tests of the local stack share: homes of their own, and a supervisor to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rendio.local.data_dir import GENERATED, PROJECT, DataDir
from rendio.local.wait import wait_until
from tests.helpers.wait import PATIENCE_SECONDS

# What this test run was given; a stack of a test's own starts without.
GIVEN = {
    *GENERATED,
    *["DATABASE_URL", "REDIS_URL", "SANDBOX_URL", "PUBLIC_URL", "MEDIA_ROOT", "ENVIRONMENT"],
    *["SANDBOX_KEYS_FOLDER", "APPSTORE_ROOT_CERTIFICATE"],
    *["PORT", "SANDBOX_PORT", "FLOWER_PORT", "JOURNEY", "RENDIO_HOME", "RENDIO_EMBEDDED"],
}


def fresh_environment(data_dir: Path, **added: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in GIVEN}
    return kept | {"RENDIO_HOME": str(data_dir), **added}


def groups_of(data_dir: Path) -> set[int]:
    """The process groups that a home's pid files name."""
    return {int(file.stem.rpartition("-")[2]) for file in (data_dir / "pids").glob("*.pid")}


def alive(groups: set[int]) -> list[str]:
    """The living processes of these groups."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat=,args="],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [" ".join(row) for row in rows if int(row[0]) in groups and row[1][0] not in "ZX"]


def pid_of(data_dir: Path, name: str) -> int | None:
    """None while no such process is there."""
    return next(
        (int(file.stem.rpartition("-")[2]) for file in (data_dir / "pids").glob(f"{name}-*.pid")),
        None,
    )


class Supervisor:
    """`python -m rendio.local run` in a home."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self._environment = fresh_environment(data_dir, **environment)
        self.output_file = data_dir.parent / f"{data_dir.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def start(self) -> None:
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rendio.local", "run"],
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, text: str) -> None:
        assert self.process

        def said_or_ended() -> bool:
            return text in self.output or self.process.poll() is not None

        wait_until(said_or_ended, timeout_seconds=PATIENCE_SECONDS)
        assert text in self.output, self.output

    def end(self, number: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(120)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "home", JOURNEY="0")
    yield supervisor
    if supervisor.process and supervisor.process.poll() is None:
        supervisor.end(signal.SIGKILL)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[DataDir]:
    data_dir = DataDir(tmp_path / "home")
    data_dir.acquire()
    yield data_dir
    data_dir.release()
