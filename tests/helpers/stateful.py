"""What the tests share that drive us in any order (hypothesis: stateful testing)."""

from __future__ import annotations

from django.db import transaction
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.helpers import budget


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


def run(machine, *, examples, steps, derandomize=True, phases=(Phase.generate, Phase.shrink)):
    """Run the machine `examples` times in a thorough run, fewer times in others (budget.py).

    The runs are the same ones each time, unless `derandomize` is False.
    """
    count = budget.examples(examples)
    told = []

    class Described(machine):
        def teardown(self):
            super().teardown()
            told.append(self)

    run_state_machine_as_test(
        Described,
        settings=hypothesis_settings(
            max_examples=count,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=phases,
        ),
    )
    assert len(told) >= count
