"""Jobs in a queue. A job's state is computed from its times whenever someone asks."""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sandbox.fake_provider.outcomes import Answer, Outcome
from sandbox.fake_provider.scenarios import Plan
from sandbox.fake_provider.specs import Spec, file_name

MOST_JOBS = 20_000
LOG_STEPS = 5


class Status(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


@dataclass
class Job:
    """Times are of the monotonic clock, but for `submitted_at`."""

    model: str
    app: str
    """Whose queue it stands in."""
    input: dict[str, Any]
    plan: Plan
    webhook_url: str | None
    files_url: str
    failure: Answer | None
    """How it ends, where it does not end well."""
    specs: tuple[Spec, ...]
    request_id: str = field(default_factory=lambda: str(uuid4()))
    gateway_request_id: str = field(default_factory=lambda: str(uuid4()))
    submitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    submitted: float = field(default_factory=time.monotonic)
    cancelled: float | None = None
    finished: float | None = None
    """When a control ended it, as its plan had it."""
    had_unknown_status: bool = False
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def starts(self) -> float:
        return self.submitted + self.plan.pace.queue_seconds

    @property
    def ends(self) -> float:
        if self.cancelled is not None:
            return self.cancelled
        if self.finished is not None:
            return self.finished
        if self.plan.outcome is Outcome.HANG:
            return math.inf
        return self.starts + self.plan.pace.run_seconds

    @property
    def status(self) -> Status:
        now = time.monotonic()
        if now >= self.ends:
            return Status.COMPLETED
        return Status.IN_PROGRESS if now >= self.starts else Status.IN_QUEUE

    @property
    def progress(self) -> float:
        """From 0 to 1. One that hangs stays where its pace would have it, short of the end."""
        passed = time.monotonic() - self.starts
        return round(min(max(passed / max(self.plan.pace.run_seconds, 0.001), 0), 0.99), 2)

    @property
    def has_failed(self) -> bool:
        return self.failure is not None or self.cancelled is not None

    def file_url(self, number: int = 0) -> str:
        return f"{self.files_url}/{self.request_id}/{file_name(number, self.specs[number])}"

    @property
    def inference_seconds(self) -> float:
        return max(0.0, self.ends - self.starts)

    def cancel(self) -> None:
        """It ends now. The caller has made sure that it can."""
        self.cancelled = time.monotonic()
        self._ending.set()

    def finish(self) -> None:
        """It ends now, and not when its plan has it. Not for one that has ended."""
        self.finished = time.monotonic()
        self._ending.set()

    async def until_ended(self) -> None:
        while (left := self.ends - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._ending.wait(), None if left == math.inf else left)
            except TimeoutError:
                continue

    def logs(self) -> list[dict[str, Any]]:
        """The lines so far: one at the start and after each fifth of the run."""
        if not self.plan.pace.progress_logs:
            return []
        now = min(time.monotonic(), self.ends)
        step = self.plan.pace.run_seconds / LOG_STEPS
        # A job that hangs stays at 80%.
        most = LOG_STEPS if self.status is Status.COMPLETED else LOG_STEPS - 1
        return [
            self._log_line(
                f"Rendering {100 * number // LOG_STEPS}%", at=self.starts + number * step
            )
            for number in range(most + 1)
            # The last step is the end itself, which float arithmetic may put a hair later.
            if self.starts + number * step <= now + 1e-6
        ]

    def _log_line(self, message: str, *, at: float) -> dict[str, Any]:
        timestamp = self.submitted_at + timedelta(seconds=at - self.submitted)
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
    """All that was taken, oldest first; the oldest are forgotten beyond MOST_JOBS."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: dict[str, list[Job]] = {}

    def reset(self) -> None:
        self._jobs.clear()
        self._waiting.clear()

    def add(self, job: Job) -> None:
        self._jobs[job.request_id] = job
        self._waiting.setdefault(job.app, []).append(job)
        if len(self._jobs) > MOST_JOBS:
            self._jobs.popitem(last=False)

    def find(self, request_id: str) -> Job | None:
        return self._jobs.get(request_id)

    def forget(self, request_id: str) -> bool:
        """Whether it was there."""
        return self._jobs.pop(request_id, None) is not None

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def waiting(self, app: str) -> list[Job]:
        """Those in the queue of one application, first come first."""
        waiting = [job for job in self._waiting.get(app, ()) if job.status is Status.IN_QUEUE]
        self._waiting[app] = waiting
        return waiting

    def position(self, job: Job) -> int:
        """How many are ahead of it."""
        waiting = self.waiting(job.app)
        return waiting.index(job) if job in waiting else 0
