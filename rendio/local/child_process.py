"""A child process that cannot outlive its parent.

Guarantee: if this process ends in any way, kill -9 included, its children end too. On Linux the
kernel signals them (parent-death signal). On other systems, and for children that were missed, pid
files name them, and the next owner of the folder stops them first. A pid is signalled only if it is
still the recorded process.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rendio.local.wait import wait_until

PR_SET_PDEATHSIG = 1
LEFTOVER_SECONDS = 10.0


def launch(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path | None,
    death_signal: signal.Signals | None,
) -> subprocess.Popen[bytes]:
    """Start a process that writes to the log. Without a log it writes to our terminal."""
    with contextlib.ExitStack() as files:
        output = files.enter_context(log.open("ab")) if log else None
        return subprocess.Popen(  # noqa: S603
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            # A separate group: Ctrl-C reaches only us, and we stop the children in order.
            start_new_session=True,
            preexec_fn=_die_with_parent(death_signal),
        )


class ChildProcess:
    # The tests fork their processes from one that has done the imports.
    launch = staticmethod(launch)

    def __init__(
        self,
        name: str,
        *,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        pid_folder: Path,
        log: Path | None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals | None = signal.SIGTERM,
        stop_seconds: float = 10.0,
    ) -> None:
        """Without a `log` the child writes to our terminal. A `death_signal` of None means that the
        command handles its parent's death itself."""
        self.name = name
        self.argv = list(argv)
        self.env = dict(env)
        self.cwd = cwd
        self.log = log
        self.stop_signal = stop_signal
        self.death_signal = death_signal
        self.stop_seconds = stop_seconds
        self.pid_folder = pid_folder
        self._pid_file = pid_folder / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_requested = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before the start."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            # Linux sends the parent-death signal when the thread that forked ends.
            raise RuntimeError("Child processes are started from the main thread only.")
        self._stop_requested = False
        self._process = self.launch(
            self.argv, env=self.env, cwd=self.cwd, log=self.log, death_signal=self.death_signal
        )
        self._pid_file = self.pid_folder / f"{self.name}-{self._process.pid}.pid"
        record = {
            "pid": self._process.pid,
            "identity": identity(self._process.pid),
            "stop_signal": self.stop_signal,
        }
        self._pid_file.write_text(json.dumps(record))

    def request_stop(self) -> None:
        if self._process and not self._stop_requested:
            self._stop_requested = True
            self._process.send_signal(self.stop_signal)  # nothing, if it has ended

    def stop(self) -> bool:
        """Ask the process to end, and kill it if that takes too long: then False."""
        if self._process is None:
            return True
        self.request_stop()
        try:
            self._process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()
        return True

    def kill(self) -> None:
        """SIGKILL to the process and to everything left in its process group."""
        if self._process is None:
            return
        _signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._pid_file.unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP to the process and its descendants: it keeps its connections and answers nothing.

        The process itself comes first, so that it starts nothing while the others are stopped.
        """
        if self._process is None:
            return
        _signal(self._process.pid, signal.SIGSTOP)
        for pid in descendants(self._process.pid):
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        if self._process is None:
            return
        for pid in [*descendants(self._process.pid), self._process.pid]:
            _signal(pid, signal.SIGCONT)


def stop_leftovers(pid_folder: Path) -> None:
    """Stop processes that an earlier, killed run has left."""
    for pid_file in pid_folder.glob("*.pid"):
        with contextlib.suppress(ValueError, TypeError, KeyError):  # it was being written
            record = json.loads(pid_file.read_text())
            _stop_leftover(int(record["pid"]), record["identity"], int(record["stop_signal"]))
        pid_file.unlink(missing_ok=True)


def _stop_leftover(pid: int, recorded: str | None, stop_signal: int) -> None:
    def gone() -> bool:
        return recorded is None or identity(pid) != recorded

    if gone():
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
    if not wait_until(gone, timeout_seconds=LEFTOVER_SECONDS):
        _signal_group(pid, signal.SIGKILL)
        wait_until(gone, timeout_seconds=LEFTOVER_SECONDS)


def identity(pid: int) -> str | None:
    """Distinguishes this process from a later one with the same pid; None if there is none."""
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        try:
            # The name, in parentheses, may itself hold spaces and parentheses.
            fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
            boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, started_ticks = fields[0], fields[19]
        return None if state in "ZX" else f"{boot}:{started_ticks}"
    answer = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def descendants(pid: int) -> list[int]:
    """All descendants of the process, in whichever process groups."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found, unvisited = [], [pid]
    while unvisited:
        found += (below := children.get(unvisited.pop(), []))
        unvisited += below
    return found


def _parents() -> list[tuple[int, int]]:
    """(pid, parent's pid) of every process."""
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        found = []
        for folder in proc.glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found.append((int(folder.name), int(fields[1])))
        return found
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [(int(pid), int(parent)) for pid, parent in map(str.split, listed.splitlines())]


def command_line(pid: int) -> str:
    """The process's command line; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return ""
    return subprocess.run(  # noqa: S603
        ["ps", "-o", "command=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(pid: int, number: signal.Signals) -> None:
    # macOS says EPERM for a group of which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _die_with_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    if number is None or not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return prepare
