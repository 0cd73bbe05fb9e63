"""Each outcome in real processes, with the webhooks that the providers send by themselves: one
submission each, and at most one look where the webhook has told the end."""

from __future__ import annotations

from collections import Counter

import pytest

from generation.models import ProviderRequest
from tests.helpers.budget import large
from tests.helpers.job_driver import assert_completed, assert_refunded, ended, wait_for_results
from tests.helpers.provider_models import MODELS
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")
REJECTED, TIMEOUT, UNAVAILABLE = "ERR_5003", "ERR_5001", "ERR_5002"
# What the webhook tells; "" is a video.
REPORTED = {
    "ok": "",
    "webhook_duplicate": "",
    "status_500": "",
    "status_unknown": "",
    "submit_lost": "",
    "media_unplayable": "",
    "error": UNAVAILABLE,
    "cancelled": UNAVAILABLE,
    "content_policy": REJECTED,
    "invalid_input": REJECTED,
    # The webhook has the address of the result.
    "result_500": "",
    "result_404": "",
    "media_404": UNAVAILABLE,
    "media_truncated": UNAVAILABLE,
    "media_huge": UNAVAILABLE,
    "media_not_video": UNAVAILABLE,
}
# Outcomes without a webhook, or without a valid one.
UNREPORTED = {
    "webhook_lost": "",
    "webhook_late": "",
    "webhook_bad_signature": "",
    "webhook_stale_timestamp": "",
    "hang": TIMEOUT,
    "submit_500": TIMEOUT,
    "submit_503": TIMEOUT,
    "submit_timeout": TIMEOUT,
}
ENDS = {"fal": REPORTED | UNREPORTED, "replicate": REPORTED | UNREPORTED}


@large
@pytest.mark.parametrize("provider", ["fal", "replicate"])
def test_every_outcome_at_once(running, sandbox, provider):
    sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0.3)
    phone = running.phone(credits=300)
    before = phone.balance()
    jobs = {}
    for outcome in ENDS[provider]:
        prompt = f"A balloon for {outcome}"
        sandbox.provider(provider=provider, outcome=outcome, times=1)
        (jobs[outcome],) = phone.order(prompt=prompt, model_id=str(MODELS[provider]))
        # Taken by its submission, and not by the next one's.
        wait_for(lambda prompt=prompt: prompt in prompts(sandbox, provider))

    in_vain = [jobs[outcome] for outcome in jobs if outcome.startswith("media_")]
    late = [jobs[outcome] for outcome, code in ENDS[provider].items() if code == TIMEOUT]
    wait_for_results(*in_vain)
    found = ended(*jobs.values(), overdue=in_vain + late)

    for outcome, code in ENDS[provider].items():
        if code:
            assert_refunded(found[jobs[outcome]], code=code)
        else:
            assert_completed(found[jobs[outcome]])
    assert set(Counter(prompts(sandbox, provider)).values()) == {1}
    status_polls = looked_at(sandbox, provider)
    # Where fetching fails in the words of a job that failed, the queue is asked which it was.
    del status_polls["result_500"]
    assert all(status_polls[outcome] <= 1 for outcome in REPORTED), status_polls
    paid = sum(found[jobs[outcome]].credits for outcome, code in ENDS[provider].items() if not code)
    assert phone.balance() == before - paid


@pytest.mark.parametrize("provider", ["runpod", "modal"])
def test_a_webhook_without_a_signature_names_the_submission_whose_answer_was_lost(
    running, sandbox, provider
):
    """Nothing else could: its token is in the URL that the provider was given."""
    for name in ("runpod", "modal"):
        sandbox.provider(provider=name, queue_seconds=0, run_seconds=0.3)
    if provider == "modal":  # the second route
        sandbox.provider(provider="runpod", outcome="submit_403_balance")
    sandbox.provider(provider=provider, outcome="submit_lost")

    (job,) = running.phone().order(model_id=str(MODELS[provider]))

    assert_completed(ended(job)[job])
    request = ProviderRequest.objects.filter(job=job).latest("sent_at")
    assert (request.provider, request.webhook_received) == (provider, True)


def prompts(sandbox, provider) -> list[str]:
    return [
        asked["body"].get("prompt") or asked["body"]["input"]["prompt"]
        for asked in sandbox.requests(provider)
        if asked["method"] == "POST" and not asked["path"].endswith("/cancel")
    ]


def looked_at(sandbox, provider) -> Counter[str]:
    """How often the status of each was asked for, by its outcome; at fal, where that shows."""
    outcome_of = {
        job["request_id"]: job["input"]["prompt"].rpartition(" ")[2]
        for job in sandbox.jobs(provider)
    }
    return Counter(
        outcome_of[asked["path"].split("/")[-2]]
        for asked in sandbox.requests(provider)
        if asked["path"].endswith("/status")
    )
