"""Scenarios: how the following submissions go, as scripted by `/control/provider`."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sandbox.fake_provider.outcomes import Outcome
from sandbox.strict_body import BadRequest, StrictBody


@dataclass(frozen=True)
class Timing:
    queue_seconds: float = 0.5
    run_seconds: float = 1.5
    progress_logs: bool = True
    webhooks: bool = True
    cancel_running: bool = False
    """Whether a running job can be cancelled. Most models' jobs cannot."""


@dataclass(frozen=True)
class Scenario:
    """How one submission goes. Fixed when the submission is accepted."""

    timing: Timing
    outcome: Outcome


@dataclass
class ScriptedOutcome:
    outcome: Outcome
    times_left: int | None


class Scenarios:
    """Scenarios by model. A call with `model` applies to that model alone.

    A call without `model` applies to all: its timing changes the models' timings, and its outcome
    replaces theirs. Fields that a call omits stay unchanged; `times` and `model` apply to their own
    call only.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._timings: dict[str | None, Timing] = {None: Timing()}
        self._outcomes: dict[str | None, ScriptedOutcome] = {}

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        fields.allow_only(("provider", "outcome", "times", "model", *Timing.__dataclass_fields__))
        model = fields.find_text("model")
        outcome = fields.find_choice("outcome", [str(outcome_name) for outcome_name in Outcome])
        times = fields.find_count("times", minimum=1)
        timing = {
            "queue_seconds": fields.find_seconds("queue_seconds"),
            "run_seconds": fields.find_seconds("run_seconds"),
            "progress_logs": fields.find_flag("progress_logs"),
            "webhooks": fields.find_flag("webhooks"),
            "cancel_running": fields.find_flag("cancel_running"),
        }
        if times is not None and outcome is None:
            raise BadRequest("times counts submissions with an outcome: give the outcome too.")

        self._set_timing(
            model, {name: value for name, value in timing.items() if value is not None}
        )
        if outcome is not None:
            self._set_outcome(model, ScriptedOutcome(Outcome(outcome), times))
        return self._as_json(model)

    def next_for(self, model: str) -> Scenario:
        """Return the scenario of a new submission, and count it against `times`."""
        timing = self._timings.get(model, self._timings[None])
        for key in (model, None):
            if scripted := self._outcomes.get(key):
                if scripted.times_left is not None:
                    scripted.times_left -= 1
                    if scripted.times_left == 0:
                        del self._outcomes[key]
                return Scenario(timing, scripted.outcome)
        return Scenario(timing, Outcome.OK)

    def _set_timing(self, model: str | None, changes: dict[str, Any]) -> None:
        if model is not None:
            self._timings.setdefault(model, self._timings[None])
        for key, timing in self._timings.items():
            if model in (None, key):
                self._timings[key] = replace(timing, **changes)

    def _set_outcome(self, model: str | None, scripted: ScriptedOutcome) -> None:
        if model is None:
            self._outcomes.clear()
        self._outcomes[model] = scripted

    def _as_json(self, model: str | None) -> dict[str, Any]:
        scripted = (
            self._outcomes.get(model)
            or self._outcomes.get(None)
            or ScriptedOutcome(Outcome.OK, None)
        )
        return {
            "model": model,
            "outcome": scripted.outcome,
            "times": scripted.times_left,
            **asdict(self._timings.get(model, self._timings[None])),
        }
