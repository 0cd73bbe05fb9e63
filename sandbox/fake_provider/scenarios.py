"""What `/control/provider` asked for: how the submissions from now on go."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sandbox.fake_provider.outcomes import Outcome
from sandbox.strict_body import BadRequest, Fields


@dataclass(frozen=True)
class Pace:
    queue_seconds: float = 0.5
    run_seconds: float = 1.5
    progress_logs: bool = True
    webhooks: bool = True
    cancel_running: bool = False
    """Whether a job can still be cancelled once it runs; most models' cannot."""


@dataclass(frozen=True)
class Plan:
    """How one submission goes, settled when it is taken."""

    pace: Pace
    outcome: Outcome


@dataclass
class Ordered:
    outcome: Outcome
    times_left: int | None


class Plans:
    """A call that names a model settles it for that model alone.

    One that names none speaks for all: its pace reaches the models settled before, its outcome
    replaces theirs. What a call leaves out stays; `times` and `model` never outlive their call.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._paces: dict[str | None, Pace] = {None: Pace()}
        self._outcomes: dict[str | None, Ordered] = {}

    def configure(self, fields: Fields) -> dict[str, Any]:
        fields.allow_only(("provider", "outcome", "times", "model", *Pace.__dataclass_fields__))
        model = fields.find_text("model")
        outcome = fields.find_choice("outcome", [str(one) for one in Outcome])
        times = fields.find_count("times", least=1)
        pace = {
            "queue_seconds": fields.find_seconds("queue_seconds"),
            "run_seconds": fields.find_seconds("run_seconds"),
            "progress_logs": fields.find_flag("progress_logs"),
            "webhooks": fields.find_flag("webhooks"),
            "cancel_running": fields.find_flag("cancel_running"),
        }
        if times is not None and outcome is None:
            raise BadRequest("times counts submissions with an outcome: give the outcome too.")

        self._set_pace(model, {name: value for name, value in pace.items() if value is not None})
        if outcome is not None:
            self._set_outcome(model, Ordered(Outcome(outcome), times))
        return self._as_json(model)

    def take(self, model: str) -> Plan:
        """The plan for a submission that has come in. Counts it."""
        pace = self._paces.get(model, self._paces[None])
        for key in (model, None):
            if ordered := self._outcomes.get(key):
                if ordered.times_left is not None:
                    ordered.times_left -= 1
                    if ordered.times_left == 0:
                        del self._outcomes[key]
                return Plan(pace, ordered.outcome)
        return Plan(pace, Outcome.OK)

    def _set_pace(self, model: str | None, changes: dict[str, Any]) -> None:
        if model is not None:
            self._paces.setdefault(model, self._paces[None])
        for key, pace in self._paces.items():
            if model in (None, key):
                self._paces[key] = replace(pace, **changes)

    def _set_outcome(self, model: str | None, ordered: Ordered) -> None:
        if model is None:
            self._outcomes.clear()
        self._outcomes[model] = ordered

    def _as_json(self, model: str | None) -> dict[str, Any]:
        ordered = self._outcomes.get(model) or self._outcomes.get(None) or Ordered(Outcome.OK, None)
        return {
            "model": model,
            "outcome": ordered.outcome,
            "times": ordered.times_left,
            **asdict(self._paces.get(model, self._paces[None])),
        }
