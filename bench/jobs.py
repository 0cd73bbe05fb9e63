"""The rows of whole jobs: real workers, and a provider that answers at once or after 50 ms.

Each round orders jobs while the workers are paused, and measures from when the workers go on to
the end of the last job.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import requests
from django.utils import timezone

from bench.instant_provider import Outcome
from bench.load import Plan, Result, drive
from bench.rows import Row
from generation.models import Job, JobStatus, Stage
from rendio.common.ids import lowest_uuid7

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from bench.world import World
    from rendio.local.stack import Stack

DELAYS_MS = (0, 50)
# What a row of this outcome counts, and the state of its jobs at the end.
NAMES = {
    Outcome.NEVER: "submission",
    Outcome.FAILURE: "job without media",
    Outcome.VIDEO: "job with a video",
}
EXPECTED = {
    Outcome.NEVER: JobStatus.PROCESSING,
    Outcome.FAILURE: JobStatus.FAILED,
    Outcome.VIDEO: JobStatus.COMPLETED,
}
LOOK_SECONDS = 0.02
TIMEOUT_SECONDS = 180


@dataclass
class Jobs:
    """The rows of jobs. `workers` are the names of the worker processes in the stack; `counts` is
    how many jobs a round has, by outcome."""

    stack: Stack
    world: World
    provider_url: str
    workers: list[str]
    counts: dict[Outcome, int]
    _began_at: datetime = field(default_factory=timezone.now)

    def rows(self) -> list[Row]:
        return [self._row(outcome, delay_ms) for outcome in self.counts for delay_ms in DELAYS_MS]

    def _row(self, outcome: Outcome, delay_ms: int) -> Row:
        answers = f"{delay_ms} ms" if delay_ms else "at once"
        return Row(
            f"{NAMES[outcome]}, {answers}",
            lambda seconds: self._work(outcome),
            prepare=lambda: self._order(outcome, delay_ms),
        )

    def _order(self, outcome: Outcome, delay_ms: int) -> None:
        """Order the jobs while the workers are paused."""
        from bench.world import finish_open_jobs  # not before the settings know these servers

        control = {"outcome": outcome.value, "delay_ms": str(delay_ms)}
        requests.post(f"{self.provider_url}/control", params=control, timeout=30)
        for name in self.workers:
            self.stack.children[name].pause()
        finish_open_jobs()
        self._began_at = timezone.now()
        count = self.counts[outcome]
        plan = Plan(self.stack.port, 8, TIMEOUT_SECONDS, self.world.generate_video(), count=count)
        drive(plan)

    def _work(self, outcome: Outcome) -> Result:
        began = time.monotonic()
        for name in self.workers:
            self.stack.children[name].resume()
        left = self._left(outcome)
        while left.exists() and time.monotonic() - began < TIMEOUT_SECONDS:
            time.sleep(LOOK_SECONDS)
        seconds = time.monotonic() - began
        wrong = self._jobs().exclude(status=EXPECTED[outcome])
        first = wrong.first()
        return Result(
            requests=self._jobs().count(),
            errors=wrong.count(),
            seconds=seconds,
            latencies_ms=[],
            first_error=f"{first.id} is {first.status}, {first.stage}" if first else "",
        )

    def _jobs(self) -> QuerySet[Job]:
        """The jobs of this round."""
        return Job.objects.filter(id__gte=lowest_uuid7(self._began_at))

    def _left(self, outcome: Outcome) -> QuerySet[Job]:
        if outcome is Outcome.NEVER:
            return self._jobs().filter(stage__in=[Stage.SUBMIT, Stage.SENT])
        return self._jobs().exclude(stage=Stage.DONE)
