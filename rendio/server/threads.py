"""Tasks, and a thread that runs them.

The pool of concurrent.futures makes a future for each task, with a lock and a condition. No code
waits for a result here, so a task needs none of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

logger = logging.getLogger(__name__)


class Task:
    """A call of a function. Either a thread begins it, or `cancel` prevents that."""

    __slots__ = ("_act", "_arguments", "_claims")

    def __init__(self, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._act = act
        self._arguments = arguments
        # Popping is atomic: the first one to claim the task decides.
        self._claims = [self]

    def run(self) -> None:
        if self._claim():
            self._act(*self._arguments)

    def cancel(self) -> bool:
        """Whether the task had not begun, and now never will."""
        return self._claim()

    def _claim(self) -> bool:
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True


class TaskThread:
    """A thread that runs tasks in the order of their submission. It starts with the first."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        # A daemon: a task that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._starting = threading.Lock()
        self._has_started = False

    def submit(self, act: Callable[..., None], *arguments: Any) -> Task:
        if not self._has_started:
            self._start()
        task = Task(act, arguments)
        self._tasks.put(task)
        return task

    def _start(self) -> None:
        with self._starting:
            if not self._has_started:
                self._thread.start()
                self._has_started = True

    def _run(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task.run()
            except BaseException:
                # The tasks after it have to run.
                logger.exception("A task failed.")
            # Until the next one, the thread must not keep a request's memory.
            del task
