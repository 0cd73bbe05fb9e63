"""A process whose machine's clock is wrong: `python -m tests.helpers.shifted_clock 3600
rendio.worker`.

SIGUSR2 sets the clock back by two hours while the process runs.
"""

from __future__ import annotations

import runpy
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

HOUR = 3600


class _Clock:
    def __init__(self, seconds: float) -> None:
        self._travel: Any = None
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Ahead of what it says now by so much."""
        to = datetime.now(UTC) + timedelta(seconds=seconds)
        if self._travel:
            self._travel.stop()
        self._travel = time_machine.travel(to, tick=True)
        self._travel.start()


def main(seconds: str, module: str, *arguments: str) -> None:
    clock = _Clock(float(seconds))
    signal.signal(signal.SIGUSR2, lambda *_: clock.set(-2 * HOUR))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
