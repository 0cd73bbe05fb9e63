"""Cost rules: who pays for each outcome of a submission."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from generation.lifecycle.cost_rules import COST_RULES, SubmissionOutcome
from generation.models import JobStatus, ProviderRequest, RequestState, Stage
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    create_job,
    send_webhook,
    submissions,
)
from tests.helpers.model_ids import GEN, WAN
from tests.helpers.provider_models import only_made_by

FULL = Decimal("0.40")  # four seconds of Sora 2 at fal
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "providers.md"


@pytest.fixture(autouse=True)
def _short(settings, no_long_wait):
    settings.MAX_VIDEO_BYTES = 3_000_000
    settings.JOB_START_DEADLINE_SECONDS = settings.JOB_RUN_DEADLINE_SECONDS = 60
    settings.JOB_STORE_DEADLINE_SECONDS = 60


def cost_of(job) -> Decimal:
    return sum(ProviderRequest.objects.filter(job=job).values_list("cost_usd", flat=True))


@pytest.mark.parametrize(
    ("outcome", "ending", "code", "cost"),
    [
        ("content_policy", SubmissionOutcome.REJECTED, "ERR_5003", FULL),
        # fal says itself that this one cost nothing.
        ("invalid_input", SubmissionOutcome.REJECTED, "ERR_5003", 0),
        ("error", SubmissionOutcome.PROVIDER_FAULT, "ERR_5002", 0),
        ("cancelled", SubmissionOutcome.CANCELLED_WAITING, "ERR_5002", 0),
        ("hang", SubmissionOutcome.TIMEOUT, "ERR_5001", FULL),
        ("submit_timeout", SubmissionOutcome.TIMEOUT, "ERR_5001", FULL),
        ("result_404", SubmissionOutcome.TIMEOUT, "ERR_5001", FULL),
        ("media_404", SubmissionOutcome.UNUSABLE, "ERR_5002", FULL),
        ("media_not_video", SubmissionOutcome.UNUSABLE, "ERR_5002", FULL),
        ("media_huge", SubmissionOutcome.UNUSABLE, "ERR_5002", FULL),
    ],
)
def test_who_gets_no_video_gets_the_credits_and_we_book_what_was_taken(
    phone, instant_provider, life, outcome, ending, code, cost
):
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code=code)
    assert phone.balance() == 10
    assert cost_of(job) == cost
    assert not COST_RULES[ending].user_pays
    assert COST_RULES[ending].we_pay or cost == 0


@pytest.mark.parametrize(
    ("outcome", "cost"), [("error", 0), ("cancelled", 0), ("content_policy", "0.10")]
)
def test_where_a_provider_never_says_its_cost_the_table_does(phone, sandbox, life, outcome, cost):
    sandbox.provider(provider="replicate", queue_seconds=0, run_seconds=0, webhooks=False)
    sandbox.provider(provider="replicate", outcome=outcome)
    job = create_job(phone, model_id=str(WAN))

    life.run_until_done(job)

    assert cost_of(job) == Decimal(cost)


def test_a_video_is_paid_by_both(phone, instant_provider, life):
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert cost_of(job) == FULL
    assert COST_RULES[SubmissionOutcome.DELIVERED].user_pays


def test_what_was_refused_at_once_costs_nobody(phone, instant_provider, life):
    instant_provider.provider(outcome="submit_403_balance")
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert len(submissions(instant_provider)) > 1
    assert cost_of(job) == 0


def test_our_own_storages_failure_is_ours(phone, instant_provider, life, settings):
    settings.MEDIA_ROOT = "/proc/no-such-folder"
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_6002")
    assert cost_of(job) == FULL


@pytest.mark.parametrize("pace", ["queue_seconds", "run_seconds"])
def test_a_cancelled_job_costs_what_fal_says(phone, instant_provider, life, pace):
    instant_provider.provider(cancel_running=True, **{pace: 600})
    job = create_job(phone)
    life.submit()
    life.advance(3).poll()

    phone.post("cancel-video-job", {"job_id": str(job.id)})

    assert_refunded(job, status=JobStatus.CANCELLED)
    assert cost_of(job) == 0


@pytest.mark.parametrize(("pace", "cost"), [("queue_seconds", 0), ("run_seconds", "0.60")])
def test_one_that_is_cancelled_without_a_word_on_cost_is_paid_once_it_runs(
    phone, sandbox, life, pace, cost
):
    sandbox.provider(provider="runway", **{"queue_seconds": 0, pace: 600})
    job = create_job(phone, model_id=str(GEN))
    life.submit()
    life.advance(3).poll()

    phone.post("cancel-video-job", {"job_id": str(job.id)})

    assert_refunded(job, status=JobStatus.CANCELLED)
    assert cost_of(job) == Decimal(cost)


def test_a_video_that_comes_late_is_kept_and_the_refund_stands(
    phone, instant_provider, signer, life
):
    instant_provider.provider(outcome="submit_lost")
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")

    assert send_webhook(signer, job) == 200
    life.advance(1).deliver()
    job.refresh_from_db()
    assert job.stage == Stage.STORE
    life.run_until_done(job)

    job.refresh_from_db()
    assert job.media_name
    assert_refunded(job, code="ERR_5001")
    assert phone.balance() == 10
    assert cost_of(job) == FULL


def test_a_provider_that_says_its_cost_is_believed(phone, sandbox, life):
    """The catalogue states $0.12 a second for Gen-4.5; the provider states another cost."""
    sandbox.provider(provider="runway", queue_seconds=0, run_seconds=0)
    job = create_job(phone, model_id=str(GEN))
    job.model.routes.update(cost_usd="9.99")

    life.run_until_done(job)

    assert_completed(job)
    assert cost_of(job) == Decimal("0.60")


@pytest.mark.parametrize("provider", ["fal", "runway", "replicate", "runpod", "modal"])
def test_what_the_provider_stopped_by_itself_is_a_failure(phone, sandbox, life, provider):
    """The user did not cancel, so the job fails."""
    sandbox.provider(
        provider=provider, queue_seconds=0, run_seconds=0, webhooks=False, outcome="cancelled"
    )
    job = create_job(phone, model_id=only_made_by(provider))

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert ProviderRequest.objects.get(job=job).state == RequestState.FAILED


def test_the_table_is_whole_and_stands_in_the_docs():
    assert set(COST_RULES) == set(SubmissionOutcome)
    rows = [line.split("|")[1:5] for line in DOCUMENT.read_text().splitlines() if "|" in line]
    shown = {row[0].strip(): (row[1].strip(), row[2].strip()) for row in rows if len(row) == 4}
    for ending, bill in COST_RULES.items():
        assert shown[ending.value] == (
            _shown(bill),
            "booked" if bill.we_pay else "nothing",
        )


def _shown(bill) -> str:
    if bill.user_pays:
        return "pays"
    return "refunded, less a fee" if bill.caused_by_user else "refunded"
