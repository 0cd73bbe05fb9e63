"""How each thing that each provider can do ends, with polling alone: and how often it was asked.

tests/generation/test_lifecycle_outcomes.py has the same for fal with more of the life around it.
"""

from __future__ import annotations

import pytest

from generation.models import ProviderRequest
from tests.helpers.budget import large
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job
from tests.helpers.provider_models import MODELS, only_made_by

REJECTED, TIMEOUT, UNAVAILABLE = "ERR_5003", "ERR_5001", "ERR_5002"
# What it ends with; "" is a video.
ENDS = {
    "ok": "",
    "status_unknown": "",
    "media_redirect": "",
    "media_unplayable": "",
    "media_mistagged": "",
    "submit_403_balance": "",
    "submit_429": "",
    "submit_redirect": "",
    "error": UNAVAILABLE,
    "cancelled": UNAVAILABLE,
    "aborted": UNAVAILABLE,
    "content_policy": REJECTED,
    "invalid_input": REJECTED,
    "hang": TIMEOUT,
    "submit_500": TIMEOUT,
    "submit_503": TIMEOUT,
    "submit_timeout": TIMEOUT,
    "submit_lost": TIMEOUT,
    "status_500": TIMEOUT,
    "result_500": TIMEOUT,
    "result_404": TIMEOUT,
    "result_late": TIMEOUT,
    "result_odd": UNAVAILABLE,
    "media_404": UNAVAILABLE,
    "media_truncated": UNAVAILABLE,
    "media_huge": UNAVAILABLE,
    "media_not_video": UNAVAILABLE,
}
PROVIDERS = ["runway", "replicate", "runpod", "modal"]
# What we do about them is one piece of code for all providers. An answer that does not come is in
# their contract (tests/helpers/provider_contract.py).
OURS = {
    "media_redirect", "media_unplayable", "media_mistagged", "media_404", "media_truncated",
    "media_huge", "media_not_video", "submit_timeout", "submit_lost",
}  # fmt: skip
# Refused the first time, and sent again.
SENT_TWICE = {"submit_403_balance", "submit_429"}
DEADLINE_SECONDS = 120
MOST_LOOKS = {
    # Until the deadline.
    "hang": 8,
    "status_500": 8,
    "result_500": 8,
    "result_404": 8,
    "result_late": 8,
    # One look, and four fetches of what cannot be used.
    "media_404": 5,
    "media_truncated": 5,
    "media_not_video": 5,
}


@pytest.fixture(autouse=True)
def _short(settings, no_long_wait):
    settings.MAX_VIDEO_BYTES = 3_000_000
    settings.JOB_START_DEADLINE_SECONDS = settings.JOB_RUN_DEADLINE_SECONDS = DEADLINE_SECONDS
    settings.JOB_STORE_DEADLINE_SECONDS = DEADLINE_SECONDS


def in_turn():
    """All outcomes of all providers. An ordinary run has those of OURS at one; they take turns."""
    for number, outcome in enumerate(ENDS):
        chosen = PROVIDERS[number % len(PROVIDERS)] if outcome in OURS else None
        for provider in PROVIDERS:
            marks = [] if chosen in (None, provider) else large
            yield pytest.param(provider, outcome, marks=marks)


@pytest.mark.parametrize(("provider", "outcome"), list(in_turn()))
def test_each_outcome_ends_with_one_submission_and_few_looks(
    phone, sandbox, life, provider, outcome
):
    sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
    times = {"times": 1} if outcome in SENT_TWICE else {}
    sandbox.provider(provider=provider, outcome=outcome, **times)
    before = phone.balance()
    job = create_job(phone, model_id=only_made_by(provider))

    life.run_until_done(job)

    if code := ENDS[outcome]:
        assert_refunded(job, code=code)
        assert phone.balance() == before
    else:
        assert_completed(job)
    asked = [one for one in sandbox.requests(provider) if "/files/" not in one["path"]]
    posts = [one for one in asked if one["method"] == "POST"]
    assert len(posts) == (2 if outcome in SENT_TWICE else 1)
    assert len(sandbox.jobs(provider)) <= 1
    # To look and to fetch are the same request there.
    assert len([one for one in asked if one["method"] == "GET"]) <= MOST_LOOKS.get(outcome, 3)


def test_a_job_whose_prediction_was_aborted_costs_neither_us_nor_its_user(phone, sandbox, life):
    sandbox.provider(provider="replicate", queue_seconds=0, run_seconds=0, webhooks=False)
    sandbox.provider(provider="replicate", outcome="aborted")
    job = create_job(phone, model_id=str(MODELS["replicate"]))

    life.run_until_done(job)

    assert_refunded(job, code=UNAVAILABLE)
    assert (life.now - job.created_at).total_seconds() < 60
    request = ProviderRequest.objects.get(job=job)
    assert (request.error_type, request.cost_usd) == ("aborted", 0)


def test_at_fal_a_ten_minute_job_is_looked_at_24_times(phone, instant_provider, life, settings):
    settings.JOB_START_DEADLINE_SECONDS = settings.JOB_RUN_DEADLINE_SECONDS = 600
    instant_provider.provider(outcome="hang")
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code=TIMEOUT)
    assert (
        len([one for one in instant_provider.requests() if one["path"].endswith("/status")]) <= 24
    )
