"""An attacker orders what a provider's own moderation refuses, after it has begun: the credits come
back, the provider takes its price from us, and may close our account."""

from __future__ import annotations

from decimal import Decimal

import pytest

from accounts.models import Push, User
from accounts.push.messages import message_for
from credits import ledger_check
from generation.lifecycle import settle
from generation.models import Job, JobStatus, ProviderRequest, Sanction, Violation
from generation.providers.base import FailureReason
from tests.helpers.job_driver import JobDriver, StubServer, grant, kinds_of, override_provider
from tests.helpers.model_ids import GEN
from tests.helpers.phone import assert_refused
from tests.helpers.provider_models import MODELS, only_made_by

FREE = 3


@pytest.fixture(autouse=True)
def _steps(settings):
    settings.CANCEL_FREE_COUNT = FREE
    settings.MODERATION_WARN_AFTER, settings.MODERATION_HOLD_AFTER = 0, 0
    settings.MODERATION_BAN_AFTER = 0


@pytest.fixture
def life():
    return JobDriver()


@pytest.fixture
def strict(phone, sandbox):
    """A provider that refuses what it is asked for, and a phone that can pay."""
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False, outcome="content_policy")
    grant(phone.user_id, 100)
    return phone


def rejected(phone, life, **order):
    """The ended job, and the fee that was said before."""
    answer = phone.generate(**order)
    assert answer.status_code == 200, answer.content
    job = Job.objects.get(id=answer.json()["job_id"])
    life.run_until_done(job)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "ERR_5003")
    assert kinds_of(job.id) == ["charge", "refund"]
    return job, answer.json()["cancel_fee_after_start"]


def violations(phone):
    return Violation.objects.filter(user_id=phone.user_id).order_by("at")


def test_beyond_a_few_each_rejection_that_cost_us_is_paid(strict, life):
    before = strict.balance()

    ended = [rejected(strict, life) for _ in range(FREE + 2)]

    assert [said for _, said in ended] == [0] * FREE + [4, 4]
    assert [job.fee_kept for job, _ in ended] == [0] * FREE + [4, 4]
    assert strict.balance() == before - 2 * 4
    lost = sum(ProviderRequest.objects.values_list("cost_usd", flat=True))
    assert lost - (before - strict.balance()) * Decimal("0.10") == FREE * Decimal("0.40")
    assert ledger_check.find_discrepancies() == []


def test_cancels_and_rejections_share_the_free_ones(strict, sandbox, life, settings):
    settings.CANCEL_FREE_COUNT = 1
    rejected(strict, life)

    quote = strict.post("quote-video", {"model_id": str(GEN), "prompt": "A red balloon"}).json()

    assert quote["cancel_fee_after_start"] == 6


def test_a_rejection_for_which_the_provider_takes_nothing_costs_nothing(
    strict, sandbox, life, settings
):
    settings.CANCEL_FREE_COUNT = 0
    sandbox.provider(outcome="invalid_input")
    before = strict.balance()

    job, said = rejected(strict, life)

    assert (said, job.fee_kept, job.loss_usd) == (4, 0, None)
    assert strict.balance() == before
    assert not violations(strict).exists()  # the input's form was wrong, not what it asks for


@pytest.mark.parametrize("provider", MODELS)
def test_each_rejection_by_a_providers_moderation_is_a_violation(strict, sandbox, life, provider):
    sandbox.provider(
        provider=provider, queue_seconds=0, run_seconds=0, webhooks=False, outcome="content_policy"
    )

    job, _ = rejected(strict, life, model_id=only_made_by(provider))

    [violation] = violations(strict)
    assert (violation.moderator, violation.input) == (provider, "prompt")
    settle.fail(job, FailureReason.REJECTED, now=life.now, error_type=violation.categories[0])
    assert violations(strict).count() == 1


def test_a_prompt_that_is_refused_before_it_is_taken_is_a_violation_and_free(
    strict, life, settings, stub_server
):
    settings.CANCEL_FREE_COUNT = 0
    override_provider(settings, "fal", url=stub_server.url)
    said = {
        "detail": [{"loc": ["body", "prompt"], "msg": "No", "type": "content_policy_violation"}]
    }
    stub_server.say(422, said)
    before = strict.balance()

    job, _ = rejected(strict, life)

    assert violations(strict).count() == 1
    assert job.fee_kept == 0
    assert strict.balance() == before


@pytest.fixture
def stub_server():
    server = StubServer()
    yield server
    server.close()


def test_who_goes_on_is_held_and_banned_with_no_moderation_of_ours(strict, life, settings):
    settings.MODERATION = []
    settings.MODERATION_HOLD_AFTER, settings.MODERATION_BAN_AFTER = 2, 3
    for _ in range(2):
        rejected(strict, life)

    assert [violation.step for violation in violations(strict)] == [Sanction.NONE, Sanction.HOLD]
    before = strict.balance()
    assert_refused(strict.generate(), 403, "ERR_4018")
    assert strict.balance() == before

    violations(strict).update(held_until=None, step=Sanction.NONE)
    rejected(strict, life)
    assert User.objects.get(id=strict.user_id).suspended_at
    assert ledger_check.find_discrepancies() == []


def test_what_our_moderation_refuses_of_the_results_counts_with_the_others(
    strict, sandbox, life, settings
):
    """The provider made it and takes its price."""
    settings.CANCEL_FREE_COUNT = 0
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False, outcome="ok")
    answer = strict.generate()
    job = Job.objects.get(id=answer.json()["job_id"])
    life.submit()
    job.refresh_from_db()

    assert settle.fail(
        job, FailureReason.RESULT_FLAGGED, now=life.now, error_type="content_rejected"
    )

    job.refresh_from_db()
    assert job.fee_kept == answer.json()["cancel_fee_after_start"] == 4
    assert not violations(strict).exists()  # the prompt had passed


def test_a_push_says_how_many_credits_are_back(strict, life, settings):
    settings.CANCEL_FREE_COUNT = 0
    settings.APNS_KEY_ID = settings.APNS_KEY_ID or "KEY"
    strict.register_for_pushes()

    job, _ = rejected(strict, life)

    push = Push.objects.get(job_id=job.id)
    assert push.credits == job.credits - job.fee_kept == 0
    said = message_for(push, language="en").body
    assert said == "Your request was not allowed, so its credits were not returned."
