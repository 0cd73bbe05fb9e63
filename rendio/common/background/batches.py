"""A background thread that sends what callers add, equal items of a few milliseconds as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from rendio.common.background.threads import BackgroundThread

PAUSE_SECONDS = 0.02

Item = TypeVar("Item")


class BatchSender(Generic[Item]):
    """Calls `send` with the items of each batch, in a thread of its own: no caller waits.

    A batch whose `send` raises is lost. `late_seconds` is as for BackgroundThread.
    """

    def __init__(
        self, name: str, send: Callable[[set[Item]], object], *, late_seconds: float
    ) -> None:
        self._send = send
        self._pending: set[Item] = set()
        self._changed = threading.Condition()
        self._thread = BackgroundThread(
            name, wait=self._wait, turn=self._send_pending, late_seconds=late_seconds
        )

    def add(self, item: Item) -> None:
        with self._changed:
            self._pending.add(item)
            self._changed.notify()
        # A thread does not survive a fork; each process starts its own.
        self._thread.start()

    def _wait(self) -> bool:
        time.sleep(PAUSE_SECONDS)
        with self._changed:
            while not self._pending:
                self._changed.wait()
        return True

    def _send_pending(self) -> None:
        with self._changed:
            pending, self._pending = self._pending, set()
        self._send(pending)
