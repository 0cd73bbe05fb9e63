"""Background threads that survive exceptions and report their state.

A thread repeats `wait` and `turn`. An exception of either is logged, and the next round starts
after PAUSE_SECONDS. `problems` names each thread of this process that is dead, fails, or has been
in one turn for too long; /statusz shows them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic

import structlog

logger = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0


class BackgroundThread:
    """One thread of this process, started by `start`, and after a fork by the next `start`.

    `wait` returns when the next turn is due; False ends the thread. `turn` does one round of work.
    A turn longer than `late_seconds` is a problem; None is for a turn that lasts until the process
    ends. `at_end` runs in the thread at its end.
    """

    def __init__(
        self,
        name: str,
        *,
        wait: Callable[[], bool],
        turn: Callable[[], object],
        late_seconds: float | None,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._wait, self._turn, self._at_end = wait, turn, at_end
        self._late_seconds = late_seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._starts = 0
        self._turn_began_at: float | None = None
        self._failure = ""

    def start(self) -> None:
        """Start the thread unless it runs in this process."""
        with self._lock:
            self._starts += 1
            if self.is_running:
                return
            self._pid, self._failure, self._turn_began_at = os.getpid(), "", None
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            _threads[self.name] = self
            self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the end of a thread whose `wait` will return False."""
        if thread := self._thread:
            thread.join(timeout)

    @property
    def is_running(self) -> bool:
        is_ours = self._pid == os.getpid()
        return is_ours and self._thread is not None and self._thread.is_alive()

    @property
    def problem(self) -> str:
        """The problem in words, or ""."""
        if self._thread is None:
            return ""
        if not self.is_running:
            return "is dead"
        if self._failure:
            return f"fails: {self._failure}"
        began = self._turn_began_at
        if began is not None and self._late_seconds is not None:
            seconds = monotonic() - began
            if seconds > self._late_seconds:
                return f"has been stuck for {seconds:.0f} s"
        return ""

    def _run(self) -> None:
        while True:
            try:
                self._repeat()
                return
            except BaseException as error:
                # SystemExit too: it would silently end only this thread.
                self._failure = type(error).__name__
                logger.exception("thread_failed", thread=self.name)
                _pause.wait(PAUSE_SECONDS)

    def _repeat(self) -> None:
        while True:
            self._turn_began_at = None
            starts = self._starts
            if not self._wait():
                self._at_end()
                if self._has_ended(starts):
                    return
            self._turn_began_at = monotonic()
            if self._late_seconds is None:
                # Such a turn lasts while all is well: a server serves.
                self._failure = ""
            self._turn()
            self._failure = ""

    def _has_ended(self, starts: int) -> bool:
        """False if `start` was called after `wait` had begun: that caller relies on this thread."""
        with self._lock:
            if self._starts != starts:
                return False
            self._thread = None
            return True


_threads: dict[str, BackgroundThread] = {}
_pause = threading.Event()
# A parent's threads do not run in its child, which starts the threads that it needs.


def _forget_parents_threads() -> None:
    for thread in _threads.values():
        # Another thread may hold the lock at the fork.
        thread._lock, thread._thread = threading.Lock(), None
    _threads.clear()


os.register_at_fork(after_in_child=_forget_parents_threads)


def names() -> list[str]:
    """Names of the threads that this process has started."""
    return sorted(_threads)


def problems() -> list[str]:
    """Problems of this process's threads, in words."""
    return [
        f"the thread {name} {problem}"
        for name, thread in sorted(_threads.items())
        if (problem := thread.problem)
    ]
