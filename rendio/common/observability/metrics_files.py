"""Prometheus's multiprocess files, made so that they cannot stop a process.

The client library keeps a process's counts in memory-mapped files of `metrics_folder`. Writing to a
mapped page without a disk block kills the process (SIGBUS), and a corrupt file breaks every process
that opens or reads it. Here a file gets its blocks before it is mapped, an unreadable file is set
aside, and without a file the process counts in memory: numbers may be lost, calls never.

Imported before anything is counted. The classes are not a public interface of the library:
requirements.in pins the version.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Metric, mmap_dict, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rendio.common.observability.metrics_folder import FOLDER

logger = structlog.get_logger(__name__)

FIRST_BYTES = 1 << 16
# Bytes of an entry without its key: padding, two numbers and two lengths.
ENTRY_BYTES = 40
UNREADABLE = ".unreadable"
Number = tuple[float, float]  # a value and its time


class CountsFile(mmap_dict.MmapedDict):
    """One process's counts of one kind. Never raises."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._in_memory: dict[str, Number] = {}
        self._positions: dict[str, int] = {}
        self._f: Any = None
        file = Path(filename)
        if file.exists():
            # Left by a process with the same pid.
            _set_aside_if_unreadable(file)
        try:
            self._open(file)
        except Exception as error:
            logger.warning("metrics_kept_in_memory", file=file.name, error=type(error).__name__)
            self._f = None

    def read_value(self, key: str) -> Number:
        if self._has(key):
            number: Number = super().read_value(key)  # type: ignore[no-untyped-call]
            return number
        return self._in_memory.setdefault(key, (0.0, 0.0))

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        position = self._positions.get(key)
        if position is not None:
            mmap_dict._pack_two_doubles(self._m, position, value, timestamp)  # type: ignore[no-untyped-call]
        elif self._has(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
        else:
            self._in_memory[key] = value, timestamp

    def close(self) -> None:
        if self._f:
            super().close()  # type: ignore[no-untyped-call]

    def _open(self, file: Path) -> None:
        with file.open("ab") as opened:
            if file.stat().st_size < FIRST_BYTES:
                _allocate(opened.fileno(), FIRST_BYTES)
        super().__init__(str(file))  # type: ignore[no-untyped-call]

    def _has(self, key: str) -> bool:
        """Whether the file has this key, or room for it."""
        if key in self._positions:
            return True
        if self._f is None or key in self._in_memory:
            return False
        needed, capacity = self._used + len(key.encode()) + ENTRY_BYTES, self._capacity
        while capacity < needed:
            capacity *= 2
        try:
            if capacity > self._capacity:
                _allocate(self._f.fileno(), capacity)
        except OSError as error:
            logger.warning("metrics_kept_in_memory", file=self._fname, error=type(error).__name__)
            return False
        return True


def _allocate(descriptor: int, size: int) -> None:
    """Allocate blocks up to this size. Raises OSError if the disk is full."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    missing = size - os.fstat(descriptor).st_size
    if os.write(descriptor, bytes(missing)) < missing:  # opened to append
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FolderCollector(Collector):
    """Counts of all processes that share the folder. Unreadable files are set aside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        readable = [str(file) for file in self._folder.glob("*.db") if _is_readable(file)]
        metrics: Iterable[Metric]
        metrics = MultiProcessCollector.merge(readable)  # type: ignore[no-untyped-call]
        return metrics


def _is_readable(file: Path) -> bool:
    # Empty: its process has just created it.
    return file.stat().st_size > 0 and not _set_aside_if_unreadable(file)


def _set_aside_if_unreadable(file: Path) -> bool:
    try:
        MultiProcessCollector.merge([str(file)])  # type: ignore[no-untyped-call]
    except Exception as error:
        with suppress(OSError):
            file.replace(file.with_name(file.name + UNREADABLE))
        logger.warning("metrics_file_set_aside", file=file.name, error=type(error).__name__)
        return True
    return False


class _Process:
    """This process's id, as the files are named. The library asks at each count whether the process
    has forked, and the system call takes as long as the counting."""

    id = os.getpid()

    @classmethod
    def note(cls) -> None:
        cls.id = os.getpid()


os.register_at_fork(after_in_child=_Process.note)


def use_safe_files() -> None:
    """Make the client library use CountsFile."""
    uses: Any = values
    uses.MmapedDict = CountsFile
    if FOLDER in os.environ:
        uses.ValueClass = uses.MultiProcessValue(lambda: _Process.id)
