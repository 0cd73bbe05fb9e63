"""A fake provider: accepts jobs by scenario, finishes and cancels them, and schedules their
webhooks."""

from dataclasses import replace
from typing import Any

from sandbox.fake_provider.jobs import Job, Jobs, Status
from sandbox.fake_provider.outcomes import Outcome
from sandbox.fake_provider.scenarios import Scenarios
from sandbox.fake_provider.webhooks import Webhooks
from sandbox.strict_body import StrictBody


class FakeProvider:
    def __init__(self, *, webhooks: Webhooks | None = None) -> None:
        self.jobs = Jobs()
        self.scenarios = Scenarios()
        self._webhooks = webhooks

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        return self.scenarios.configure(fields)

    def jobs_as_json(self) -> list[dict[str, Any]]:
        return [job.as_json() for job in self.jobs.all()]

    def finish(self) -> int:
        """Finish all unfinished jobs now. Returns their number."""
        unfinished = [job for job in self.jobs.all() if job.status is not Status.COMPLETED]
        for job in unfinished:
            job.finish()
        return len(unfinished)

    def recover(self) -> int:
        """End the faults of all jobs: status and result can be read from now on. Returns the number
        of jobs."""
        jobs = self.jobs.all()
        for job in jobs:
            job.scenario = replace(job.scenario, outcome=Outcome.OK)
        return len(jobs)

    def reset(self) -> None:
        self.scenarios.reset()
        self.jobs.reset()
        if self._webhooks:
            self._webhooks.reset()

    def accept(self, job: Job) -> Job:
        self.jobs.add(job)
        if self._webhooks:
            self._webhooks.schedule(job)
        return job

    def cancel(self, job: Job) -> bool:
        """Request the cancellation of a job. False if the job has finished.

        A running job finishes anyway unless its scenario has `cancel_running`.
        """
        status = job.status
        if status is Status.COMPLETED:
            return False
        if status is Status.IN_QUEUE or job.scenario.timing.cancel_running:
            job.cancel()
        return True
