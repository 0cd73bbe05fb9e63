"""Jobs of a fake provider. A job's state is computed from its times whenever it is read."""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.scenarios import Scenario
from sandbox.fake_provider.specs import Spec, WeightsSpec, file_name

MAX_JOBS = 20_000
LOG_STEPS = 5
LATE_RESULT_SECONDS = 180
"""Longer than an app waits before it refunds its user."""


class Status(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


@dataclass
class Job:
    """Times are of the monotonic clock, except `submitted_at`."""

    model: str
    app: str
    """The application whose queue has the job."""
    input: dict[str, Any]
    scenario: Scenario
    webhook_url: str | None
    files_url: str
    failure: CannedResponse | None
    """The response of a failed job. None if the job succeeds."""
    specs: tuple[Spec, ...]
    destination: str = ""
    """Of a training: the model that it makes a version of."""
    request_id: str = field(default_factory=lambda: str(uuid4()))
    gateway_request_id: str = field(default_factory=lambda: str(uuid4()))
    submitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    submitted_monotonic: float = field(default_factory=time.monotonic)
    cancelled: float | None = None
    finished: float | None = None
    """When `/control/finish` ended the job."""
    had_unknown_status: bool = False
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def starts_at(self) -> float:
        return self.submitted_monotonic + self.scenario.timing.queue_seconds

    @property
    def ends_at(self) -> float:
        if self.cancelled is not None:
            return self.cancelled
        if self.finished is not None:
            return self.finished
        if self.scenario.outcome is Outcome.HANG:
            return math.inf
        return self.starts_at + self.scenario.timing.run_seconds

    @property
    def status(self) -> Status:
        now = time.monotonic()
        if now >= self.ends_at:
            return Status.COMPLETED
        return Status.IN_PROGRESS if now >= self.starts_at else Status.IN_QUEUE

    @property
    def progress(self) -> float:
        """Progress from 0 to 1. A job that never finishes stays below 1."""
        elapsed = time.monotonic() - self.starts_at
        return round(min(max(elapsed / max(self.scenario.timing.run_seconds, 0.001), 0), 0.99), 2)

    @property
    def has_failed(self) -> bool:
        return self.failure is not None or self.cancelled is not None

    def take_read_fault(self) -> Outcome | None:
        """The fault of one read of status and result in a single resource: STATUS_500, RESULT_404
        or, once for each job, STATUS_UNKNOWN."""
        match self.scenario.outcome:
            case Outcome.STATUS_500:
                return Outcome.STATUS_500
            case _ if self.is_result_unavailable:
                return Outcome.STATUS_500
            case Outcome.RESULT_404 if self.status is Status.COMPLETED:
                return Outcome.RESULT_404
            case Outcome.STATUS_UNKNOWN if not self.had_unknown_status:
                self.had_unknown_status = True
                return Outcome.STATUS_UNKNOWN
        return None

    @property
    def is_result_unavailable(self) -> bool:
        """Whether reading the finished job fails with a 5xx."""
        now = time.monotonic()
        match self.scenario.outcome:
            case Outcome.RESULT_500:
                return now >= self.ends_at
            case Outcome.RESULT_LATE:
                return self.ends_at <= now < self.ends_at + LATE_RESULT_SECONDS
        return False

    def file_url(self, number: int = 0) -> str:
        return f"{self.files_url}/{self.request_id}/{file_name(number, self.specs[number])}"

    @property
    def inference_seconds(self) -> float:
        return max(0.0, self.ends_at - self.starts_at)

    def cancel(self) -> None:
        """Cancel the job now. The caller has checked that it can be cancelled."""
        self.cancelled = time.monotonic()
        self._ended.set()

    def finish(self) -> None:
        """Finish the job now instead of at its scripted time. Not for a finished job."""
        self.finished = time.monotonic()
        self._ended.set()

    async def wait_until_ended(self) -> None:
        while (remaining := self.ends_at - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(
                    self._ended.wait(), None if remaining == math.inf else remaining
                )
            except TimeoutError:
                continue

    def logs(self) -> list[dict[str, Any]]:
        """Return the log lines so far: one at the start and one after each fifth of the run."""
        if not self.scenario.timing.progress_logs:
            return []
        now = min(time.monotonic(), self.ends_at)
        step = self.scenario.timing.run_seconds / LOG_STEPS
        # A job that never finishes stays at 80%.
        maximum = LOG_STEPS if self.status is Status.COMPLETED else LOG_STEPS - 1
        return [
            self._log_line(self._progress_text(number), at=self.starts_at + number * step)
            for number in range(maximum + 1)
            # Rounding may put the last step slightly after the end.
            if self.starts_at + number * step <= now + 1e-6
        ]

    def _progress_text(self, step: int) -> str:
        """The text of a log line, as the model writes it. Only Replicate's trainer has a percentage
        among its words."""
        percent = 100 * step // LOG_STEPS
        spec = self.specs[0] if self.specs else None
        if not isinstance(spec, WeightsSpec):
            return f"Rendering {percent}%"
        steps = f"{spec.steps * step // LOG_STEPS}/{spec.steps}"
        bar = "█" * (percent // 10)
        return f"{percent:3}%|{bar:10}| {steps} loss: 0.4" if spec.is_tar else f"step {steps}"

    def _log_line(self, message: str, *, at: float) -> dict[str, Any]:
        timestamp = self.submitted_at + timedelta(seconds=at - self.submitted_monotonic)
        return {
            "message": message,
            "timestamp": timestamp.isoformat(),
            "level": "INFO",
            "source": "USER",
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "model": self.model,
            "input": self.input,
            "status": self.status,
            "webhook_url": self.webhook_url,
            "submitted_at": self.submitted_at.isoformat(),
        }


class Jobs:
    """All jobs, oldest first. Beyond MAX_JOBS, the oldest are dropped."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queued: dict[str, list[Job]] = {}

    def reset(self) -> None:
        self._jobs.clear()
        self._queued.clear()

    def add(self, job: Job) -> None:
        self._jobs[job.request_id] = job
        self._queued.setdefault(job.app, []).append(job)
        if len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)

    def find(self, request_id: str) -> Job | None:
        return self._jobs.get(request_id)

    def remove(self, request_id: str) -> bool:
        """Remove a job. Returns whether the job existed."""
        return self._jobs.pop(request_id, None) is not None

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def queued(self, app: str) -> list[Job]:
        """Return the queued jobs of an application, first come first."""
        queued = [job for job in self._queued.get(app, ()) if job.status is Status.IN_QUEUE]
        self._queued[app] = queued
        return queued

    def position(self, job: Job) -> int:
        """Return the number of jobs ahead of this job."""
        queued = self.queued(job.app)
        return queued.index(job) if job in queued else 0
