"""What the tests share that drive us in any order (hypothesis: stateful testing)."""

from __future__ import annotations

from django.db import transaction
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


class RolledBackMachine(RuleBasedStateMachine):
    """Each run is in a transaction that is rolled back at its end."""

    def __init__(self):
        super().__init__()
        self.block = transaction.atomic()
        self.block._from_testcase = True  # as Django's own: what is durable may begin within it
        self.block.__enter__()

    def at_the_end(self):
        """What has to hold once more."""

    def teardown(self):
        try:
            self.at_the_end()
        finally:
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)


def run(machine, *, examples, steps):
    """The same ones each time."""
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
