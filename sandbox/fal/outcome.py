"""The outcome of a job at fal, fixed when the job is accepted."""

from typing import Any

from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.specs import Spec
from sandbox.fal.models import InvalidInput, invalid_choice, parse_specs
from sandbox.fal.responses import (
    CANCELLED,
    RUN_FAILED,
    START_TIMED_OUT,
    content_policy_violation,
    model_error,
)


def outcome_for(
    model: str, arguments: dict[str, Any], outcome: Outcome
) -> tuple[tuple[Spec, ...], CannedResponse | None]:
    """Return a job's specs, or its failure. Invalid input fails only after the run."""
    if outcome is Outcome.ERROR:
        return (), RUN_FAILED
    if outcome is Outcome.CANCELLED:
        return (), CANCELLED
    if outcome is Outcome.ABORTED:
        return (), START_TIMED_OUT
    if outcome is Outcome.CONTENT_POLICY:
        return (), content_policy_violation(arguments.get("prompt"))
    if outcome is Outcome.INVALID_INPUT:
        given = arguments.get("duration")
        return (), model_error(invalid_choice("duration", (4, 6, 8), given), billable_units=0)
    try:
        return parse_specs(model, arguments), None
    except InvalidInput as error:
        return (), model_error(*error.detail, billable_units=0)
