"""Stateful test: with events in any order, repeated, lost or late, each job ends and is settled
once.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from credits import ledger_check
from generation.catalogue import cache
from generation.lifecycle import claims, poll
from generation.models import Job, JobStatus, ProviderHealth, ProviderRequest, RequestState, Stage
from tests.generation.test_routes import add_route
from tests.helpers.budget import budgeted
from tests.helpers.job_driver import JobDriver, WebhookSigner, grant, kinds_of
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.stateful import run

OUTCOMES = [
    "ok", "ok", "ok", "error", "content_policy", "hang", "submit_403_balance", "submit_500",
    "submit_429", "submit_lost", "status_500", "status_unknown", "result_500", "result_404",
    "media_404", "media_not_video",
]  # fmt: skip
LEASED = {"poll": poll.STAGES, "store": [Stage.STORE]}


class Jobs(RuleBasedStateMachine):
    """Each run has one user with jobs. Webhooks come only from a rule."""

    signer: WebhookSigner

    def __init__(self):
        super().__init__()
        self.sandbox = Sandbox()
        self.sandbox.control("reset")
        ProviderHealth.objects.all().delete()
        cache.invalidate()
        self.phone = Phone().sign_in()
        grant(self.phone.user_id, 990)
        self.life = JobDriver()
        self.jobs: list[Job] = []
        self.ended: dict = {}
        self.provider("ok")

    def teardown(self):
        self.provider("ok")
        for job in self.jobs:
            self.until_its_end(job)
        self.all_is_settled()
        self.what_has_ended_stays_ended()

    def provider(self, outcome):
        self.sandbox.provider(
            outcome=outcome, queue_seconds=0, run_seconds=0, webhooks=False, cancel_running=True
        )

    def until_its_end(self, job):
        """Advance the clock until the job ends."""
        for _ in range(400):
            job.refresh_from_db()
            if job.stage == Stage.DONE:
                return
            for step in (self.life.submit, self.life.poll, self.life.store, self.life.cancel):
                step()
            self.life.advance(15)
        raise AssertionError(f"{job.id} is still {job.stage}")

    def all_is_settled(self):
        completed = 0
        for job in self.jobs:
            is_refunded = job.status in {JobStatus.FAILED, JobStatus.CANCELLED}
            assert kinds_of(job.id) == ["charge", "refund"][: 1 + is_refunded]
            completed += job.status == JobStatus.COMPLETED
        assert self.phone.balance() == 1000 - 4 * completed
        assert ledger_check.find_discrepancies() == []

    @property
    def requests(self):
        return ProviderRequest.objects.filter(job__in=[job.id for job in self.jobs])

    # --- what may happen ---

    @rule(outcome=st.sampled_from(OUTCOMES))
    def the_provider_changes(self, outcome):
        self.provider(outcome)

    @precondition(lambda self: len(self.jobs) < 4)
    @rule()
    def the_user_orders(self):
        cache.invalidate()
        if self.phone.generate().status_code == 200:
            self.jobs.append(Job.objects.latest("id"))

    @rule(seconds=st.sampled_from([1, 3, 31, 130, 700, 2000]))
    def time_passes(self, seconds):
        self.life.advance(seconds)

    @rule(step=st.sampled_from(["submit", "poll", "store", "cancel", "stop", "deliver"]))
    def a_worker_looks(self, step):
        getattr(self.life, step)()

    @rule(step=st.sampled_from(sorted(LEASED)))
    def a_worker_dies_with_all_it_claimed(self, step):
        claims.claim(queue="low", stages=LEASED[step], now=self.life.now, limit=50)

    @precondition(lambda self: self.jobs)
    @rule(number=st.integers(0, 3))
    def the_user_takes_one_back(self, number):
        job = self.jobs[number % len(self.jobs)]
        answer = self.phone.post("cancel-video-job", {"job_id": str(job.id)})
        assert answer.status_code in {200, 409}

    @rule(number=st.integers(0, 5), times=st.integers(1, 2))
    def a_webhook_comes(self, number, times):
        """A webhook of any accepted submission: early, late or repeated."""
        known = self.sandbox.jobs()
        if not known:
            return
        request_id = known[number % len(known)]["request_id"]
        url = known[number % len(known)]["webhook_url"]
        for _ in range(times):
            assert self.signer.deliver(request_id, url.rpartition("token=")[2]) == 200

    # --- what must hold ---

    @invariant()
    def what_has_ended_stays_ended(self):
        for job in Job.objects.filter(id__in=[job.id for job in self.jobs]):
            if job.id in self.ended:
                assert (job.status, job.refund_entry_id) == self.ended[job.id]
            elif job.is_terminal:
                self.ended[job.id] = (job.status, job.refund_entry_id)

    @invariant()
    def nobody_makes_one_job_twice_at_once(self):
        states = [RequestState.SENDING, RequestState.ACCEPTED]
        live = self.requests.filter(state__in=states).values_list("job_id", flat=True)
        assert len(live) == len(set(live))

    @invariant()
    def each_route_is_asked_for_a_job_once_unless_it_took_nothing(self):
        taken = self.requests.exclude(state=RequestState.DEFERRED)
        asked = list(taken.values_list("job_id", "route_id"))
        assert len(asked) == len(set(asked))


@budgeted
@pytest.mark.usefixtures("db", "sandbox")
def test_in_any_order_every_job_ends_and_is_settled_once(signer):
    Jobs.signer = signer
    add_route()

    run(Jobs, examples=12, steps=20, derandomize=False, phases=[Phase.generate])
