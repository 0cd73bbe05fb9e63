"""One table for all kinds: whatever goes wrong at the provider, the money is right."""

from __future__ import annotations

import pytest

from credits.ledger_check import find_discrepancies
from generation.catalogue.kinds import KINDS
from generation.models import MEDIA_KINDS, ModelKind
from tests.generation.kinds.orders import BODIES, order
from tests.helpers.budget import large
from tests.helpers.job_driver import assert_completed, assert_refunded, submissions

REJECTED, TIMEOUT, UNAVAILABLE = "ERR_5003", "ERR_5001", "ERR_5002"
# What the provider does, and the error that the owner sees; None if the job completes.
FAULTS = {
    "ok": None,
    "status_unknown": None,
    "media_redirect": None,
    "error": UNAVAILABLE,
    "aborted": UNAVAILABLE,
    "cancelled": UNAVAILABLE,
    "content_policy": REJECTED,
    "invalid_input": REJECTED,
    "hang": TIMEOUT,
    "submit_403_balance": UNAVAILABLE,
    "submit_429": UNAVAILABLE,
    "submit_500": TIMEOUT,
    "submit_503": TIMEOUT,
    "submit_timeout": TIMEOUT,
    "submit_lost": TIMEOUT,
    "status_500": TIMEOUT,
    "result_500": TIMEOUT,
    "result_404": TIMEOUT,
    "result_odd": UNAVAILABLE,
    "media_404": UNAVAILABLE,
    "media_truncated": UNAVAILABLE,
    "media_huge": UNAVAILABLE,
    "media_not_video": UNAVAILABLE,
}
# Of images alone.
IMAGE_FAULTS = {
    "images_missing": UNAVAILABLE,
    "images_flagged": "ERR_4016",
    "first_media_404": UNAVAILABLE,
}
TABLE = [
    (kind, outcome, code)
    for kind in BODIES
    for outcome, code in (FAULTS | (IMAGE_FAULTS if KINDS[kind].media == "image" else {})).items()
    # The model that enlarges has no safety checker.
    if (kind, outcome) != (ModelKind.UPSCALE, "images_flagged")
]


def in_turn():
    """The table, of which an ordinary run has "ok" of each kind and each fault of one that makes
    images; the kinds take turns. What is done about a fault differs by the media alone, and
    test_lifecycle_outcomes.py has the same for a video.
    """
    turns = {}
    for kind, outcome, _code in TABLE:
        if KINDS[kind].media == "image":
            turns.setdefault(outcome, []).append(kind)
    for number, kinds in enumerate(turns.values()):
        kinds[:] = [kinds[number % len(kinds)]]
    return [
        pytest.param(*row, marks=[] if row[1] == "ok" or row[0] in turns[row[1]] else large)
        for row in TABLE
    ]


@pytest.fixture(autouse=True)
def _short(settings, no_long_wait, short_deadlines):
    settings.MAX_VIDEO_BYTES = 3_000_000


def test_every_kind_has_an_order():
    assert set(KINDS) == set(ModelKind)
    assert set(BODIES) == {
        kind for kind, _label in MEDIA_KINDS
    }  # trainings: tests/generation/training


@pytest.mark.parametrize(("kind", "outcome", "code"), in_turn())
def test_every_job_ends_and_its_money_is_right(phone, instant_provider, life, kind, outcome, code):
    before = phone.balance()
    instant_provider.provider(outcome=outcome)
    job = order(phone, kind)

    life.run_until_done(job)

    if code is None:
        assert_completed(job)
        assert phone.balance() == before - job.credits
        assert len(submissions(instant_provider)) == 1
    else:
        assert_refunded(job, code=code)
        assert phone.balance() == before
    answer = phone.get("get-video-status", job_id=job.id).json()
    assert (answer["error"] or {}).get("code") == code
    assert answer["refunded"] is (code is not None)
    assert find_discrepancies() == []


@pytest.mark.parametrize("kind", BODIES)
def test_a_cancelled_job_is_refunded(phone, instant_provider, life, kind):
    before = phone.balance()
    job = order(phone, kind)

    answer = phone.post(f"generate/{job.id}/cancel").json()

    assert (answer["status"], answer["refunded"]) == ("cancelled", True)
    assert_refunded(job, status="cancelled")
    assert phone.balance() == before
    assert submissions(instant_provider) == []
