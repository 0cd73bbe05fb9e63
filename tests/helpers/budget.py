"""What an ordinary run leaves to `--thorough`: three quarters of the examples, and large tests.

An ordinary run tries a quarter of the examples of the fuzz tests and the stateful machines, the
same ones each time, and a test marked `large` only where its file is named. `--thorough` runs these
tests alone, with all examples.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

is_thorough = False

# Tries more examples in a thorough run.
budgeted = pytest.mark.budgeted
# Costs more than 0.7 s by processes, servers or waits of its own, or is one more row of a table of
# whole lives of jobs. A smaller test checks the same promise of money or security.
large = pytest.mark.large


def examples(count: int) -> int:
    """The budget of this run, of `count` in a thorough one."""
    return count if is_thorough else -(-count // 4)


def is_selected(item: pytest.Item, arguments: list[str]) -> bool:
    """Whether a run with these arguments runs the test."""
    is_large = item.get_closest_marker(large.name) is not None
    if is_thorough:
        return is_large or item.get_closest_marker(budgeted.name) is not None
    return not is_large or item.path in _files(tuple(arguments))


@cache
def _files(arguments: tuple[str, ...]) -> set[Path]:
    return {Path(argument.split("::")[0]).resolve() for argument in arguments}
