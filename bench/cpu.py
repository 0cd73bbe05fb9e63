"""CPU time of process trees, from /proc; the load generator is not included."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def seconds(root: int) -> float:
    """CPU time of `root` and all its descendants since their start, ended ones included."""
    processes = {int(folder.name): _stat(folder) for folder in Path("/proc").glob("[0-9]*")}
    tree: set[int] = set()
    found = {root}
    while found:
        tree |= found
        found = {pid for pid, stat in processes.items() if stat and stat[0] in tree} - tree
    return sum(stat[1] for pid in tree if (stat := processes.get(pid)))


def _stat(folder: Path) -> tuple[int, float] | None:
    """`(parent, seconds)`; ended children are included. None if the process is gone."""
    try:
        # The name, in parentheses, may itself hold spaces and parentheses.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(map(int, fields[11:15])) / _TICKS_PER_SECOND
