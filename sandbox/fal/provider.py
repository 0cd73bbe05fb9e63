"""fal as its control sees it: takes jobs by plan, ends them, tells their webhooks."""

from typing import Any

from sandbox.fal.jobs import Job, Jobs, Status
from sandbox.fal.models import InvalidInput, Spec, invalid_choice, specs_of
from sandbox.fal.outcomes import (
    RUN_FAILED,
    Answer,
    Outcome,
    content_policy_violation,
    model_error,
)
from sandbox.fal.plans import Plan, Plans
from sandbox.fal.webhooks import Webhooks
from sandbox.fields import Fields


class Fal:
    def __init__(self, *, jobs: Jobs, webhooks: Webhooks) -> None:
        self.jobs = jobs
        self.plans = Plans()
        self._webhooks = webhooks

    def configure(self, fields: Fields) -> dict[str, Any]:
        return self.plans.configure(fields)

    def jobs_as_json(self) -> list[dict[str, Any]]:
        return [job.as_json() for job in self.jobs.all()]

    def reset(self) -> None:
        self.plans.reset()
        self.jobs.reset()
        self._webhooks.reset()

    def take(
        self,
        *,
        model: str,
        app: str,
        arguments: dict[str, Any],
        plan: Plan,
        webhook_url: str | None,
        media_base: str,
    ) -> Job:
        specs, failure = _fate(model, arguments, plan.outcome)
        job = Job(
            model=model,
            app=app,
            input=arguments,
            plan=plan,
            webhook_url=webhook_url,
            media_base=media_base,
            failure=failure,
            specs=specs,
        )
        self.jobs.add(job)
        self._webhooks.follow(job)
        return job

    def cancel(self, job: Job) -> bool:
        """Ask a job to stop. False when it has ended already.

        One that runs is asked, as at fal, and finishes all the same unless its plan says otherwise.
        """
        status = job.status
        if status is Status.COMPLETED:
            return False
        if status is Status.IN_QUEUE or job.plan.pace.cancel_running:
            job.cancel()
        return True


def _fate(
    model: str, arguments: dict[str, Any], outcome: Outcome
) -> tuple[tuple[Spec, ...], Answer | None]:
    """What a job will make, or how it fails. Even a plain mistake fails only when it has run."""
    if outcome is Outcome.ERROR:
        return (), RUN_FAILED
    if outcome is Outcome.CONTENT_POLICY:
        return (), content_policy_violation(arguments.get("prompt"))
    if outcome is Outcome.INVALID_INPUT:
        given = arguments.get("duration")
        return (), model_error(invalid_choice("duration", (4, 6, 8), given), billable_units=0)
    try:
        return specs_of(model, arguments), None
    except InvalidInput as error:
        return (), model_error(*error.detail, billable_units=0)
