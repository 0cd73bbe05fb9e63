"""CPU time and memory of process trees, from /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Columns of the first line of /proc/stat that are no work: idle, and waiting for a disk.
_NOT_WORKING = (3, 4)


def cpu_seconds(*roots: int) -> float:
    """CPU time of `roots` and all their descendants since their start, ended ones included."""
    processes = _processes()
    return sum(processes[pid][1] for root in roots for pid in _tree(root, processes))


def memory_mb(root: int) -> float:
    """Memory of `root` and all its descendants in MB. Pages that several processes share count
    once (PSS)."""
    return sum(map(_pss_kb, _tree(root, _processes()))) / 1024


def machine_cpu_seconds() -> float:
    """CPU time of everything on this machine since it started, on all cores."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    working = [int(field) for at, field in enumerate(fields) if at not in _NOT_WORKING]
    return sum(working) / _TICKS_PER_SECOND


def _processes() -> dict[int, tuple[int, float]]:
    """Parent and CPU seconds of each process; its ended children are included."""
    found = ((int(folder.name), _stat(folder)) for folder in Path("/proc").glob("[0-9]*"))
    return {pid: stat for pid, stat in found if stat}


def _tree(root: int, processes: dict[int, tuple[int, float]]) -> Iterator[int]:
    generation = {root} & processes.keys()
    while generation:
        yield from generation
        generation = {pid for pid, (parent, _) in processes.items() if parent in generation}


def _stat(folder: Path) -> tuple[int, float] | None:
    """None if the process is gone."""
    try:
        # The name, in parentheses, may itself hold spaces and parentheses.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(map(int, fields[11:15])) / _TICKS_PER_SECOND


def _pss_kb(pid: int) -> int:
    """0 if the process is gone."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def exact_cpu_ms(pid: int) -> float:
    """CPU time of one process in milliseconds, exact to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1_000_000
