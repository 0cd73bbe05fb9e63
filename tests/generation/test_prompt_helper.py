"""improve-prompt: a better prompt, or a plain failure that costs the user nothing and us no more
than what is booked."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest

from credits.models import LedgerEntry
from generation import spend
from generation.models import MEDIA_KINDS, SpendDay, Violation
from generation.prompt_helper import openrouter, service
from generation.spend import Period
from rendio.common import clock
from tests.helpers.job_driver import StubServer
from tests.helpers.phone import assert_refused

DRAFT = {"prompt": "a red balloon", "kind": "text-to-video"}
COST_USD = Decimal("0.0004")  # of the sandbox's answer, rounded up


@pytest.fixture(autouse=True)
def _switched_on(settings):
    settings.OPENROUTER_MODELS = ["first/model", "second/model"]


def spent_usd() -> Decimal:
    return spend.spent_usd(now=clock.now()).get(("openrouter", Period.DAY), Decimal(0))


def asked(sandbox) -> list[dict]:
    return [request["body"] for request in sandbox.requests("openrouter")]


def assert_not_improved(answer) -> None:
    assert_refused(answer, 503, "ERR_5002")
    assert answer.json()["error"]["message"] == (
        "Your prompt could not be improved. Nothing was charged."
    )
    assert answer.headers["Retry-After"] == "5"


def test_a_draft_becomes_a_better_prompt_and_costs_the_user_nothing(phone, sandbox):
    entries = LedgerEntry.objects.count()

    answer = phone.post("improve-prompt", DRAFT)

    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "prompt": "a red balloon, in soft light, the camera moves slowly",
        "changes": ["Added light.", "Added a camera movement."],
    }
    assert (phone.balance(), LedgerEntry.objects.count()) == (10, entries)
    assert spent_usd() == COST_USD


def test_openrouter_gets_a_pseudonym_the_kind_and_the_language(phone, sandbox):
    phone.post("improve-prompt", DRAFT | {"language": "tr", "kind": "text-to-image"})
    phone.post("improve-prompt", DRAFT)

    first, second = asked(sandbox)
    assert first["models"] == ["first/model", "second/model"]
    assert first["user"] == second["user"]
    assert str(phone.user_id) not in str(first)
    instructions, draft = (message["content"] for message in first["messages"])
    assert "text-to-image" in instructions
    assert "the code tr" in instructions
    assert draft == DRAFT["prompt"]
    assert "in the draft's language" in second["messages"][0]["content"]


def test_the_next_model_answers_where_the_first_fails(phone, sandbox):
    sandbox.control("openrouter", outcome="fallback")

    assert phone.post("improve-prompt", DRAFT).status_code == 200


@pytest.mark.parametrize("kind", [kind for kind, _label in MEDIA_KINDS])
def test_every_kind_of_model_has_prompts(phone, sandbox, kind):
    assert phone.post("improve-prompt", DRAFT | {"kind": kind}).status_code == 200


@pytest.mark.parametrize(
    ("outcome", "cost_usd"),
    [
        # No model has answered.
        ("no_credit", "0"),
        ("moderated", "0"),
        ("rate_limited", "0"),
        ("down", "0"),
        # A model has answered, without use.
        ("error_in_200", COST_USD),
        ("error_in_choice", COST_USD),
        ("cut", COST_USD),
        ("content_filter", COST_USD),
        ("empty", COST_USD),
        ("not_json", COST_USD),
        ("other_shape", COST_USD),
        # Nobody knows.
        ("garbage", "0.01"),
    ],
)
def test_a_failure_is_said_and_its_cost_is_booked(phone, sandbox, outcome, cost_usd):
    sandbox.control("openrouter", outcome=outcome)

    answer = phone.post("improve-prompt", DRAFT)

    assert_not_improved(answer)
    assert phone.balance() == 10
    assert spent_usd() == Decimal(cost_usd)


@pytest.mark.parametrize("outcome", ["hang", "drip"])
def test_an_answer_is_waited_for_only_so_long_and_the_most_is_booked(
    phone, sandbox, settings, outcome
):
    settings.OPENROUTER_TIMEOUT_SECONDS = 3
    sandbox.control("openrouter", outcome=outcome)
    began = time.monotonic()

    answer = phone.post("improve-prompt", DRAFT)

    assert_not_improved(answer)
    assert time.monotonic() - began < 6
    assert spent_usd() == settings.OPENROUTER_MAX_USD


def test_where_nobody_listens_nothing_is_booked(phone, settings):
    server = StubServer()
    server.close()
    settings.OPENROUTER_URL = server.url

    assert_not_improved(phone.post("improve-prompt", DRAFT))

    assert spent_usd() == 0


def test_an_answer_without_its_cost_is_booked_at_the_most(phone, sandbox, settings):
    sandbox.control("openrouter", outcome="no_cost")

    assert phone.post("improve-prompt", DRAFT).status_code == 200

    assert spent_usd() == settings.OPENROUTER_MAX_USD


@pytest.mark.parametrize("prompt", ["ab", "x" * 2001, "\u200b\u200b\u200b\u200b"])
def test_an_answer_that_is_no_valid_prompt_is_a_failure(phone, sandbox, prompt):
    sandbox.control("openrouter", prompt=prompt)

    assert_not_improved(phone.post("improve-prompt", DRAFT))


def usage(cost) -> dict:
    return {"usage": {"cost": cost}}


@pytest.mark.parametrize(
    ("body", "cost_usd"),
    [
        (usage(0), "0"),
        (usage("0.002"), "0.002"),
        (usage(1e-9), "0.000000001"),
        (usage(-1), "0.01"),
        (usage(float("nan")), "0.01"),
        (usage(float("inf")), "0.01"),
        (usage(10**9), "0.01"),
        (usage(None), "0.01"),
        (usage([]), "0.01"),
        ({"usage": None}, "0.01"),
        ({}, "0.01"),
    ],
)
def test_what_an_answer_says_of_its_cost_is_read_with_care(body, cost_usd):
    assert openrouter._stated_cost_usd(body) == Decimal(cost_usd)


# --- Who may ask, and what for --------------------------------------------------------------------


def test_without_models_there_is_no_helper(phone, sandbox, settings):
    settings.OPENROUTER_MODELS = []

    assert_refused(phone.post("improve-prompt", DRAFT), 409, "ERR_4019")

    assert asked(sandbox) == []


@pytest.mark.parametrize("prompt", [None, 7, "", "ab", "x" * 2001, "\u200b\u200b\u200b\u200b"])
def test_a_draft_is_as_long_as_a_prompt(phone, sandbox, prompt):
    assert_refused(phone.post("improve-prompt", DRAFT | {"prompt": prompt}), 400, "ERR_4003")

    assert asked(sandbox) == []


@pytest.mark.parametrize(
    ("name", "value"), [("kind", None), ("kind", "text-to-song"), ("language", "xx")]
)
def test_other_fields_are_checked(phone, sandbox, name, value):
    details = assert_refused(phone.post("improve-prompt", DRAFT | {name: value}), 400, "ERR_4008")

    assert list(details["fields"]) == [name]
    assert asked(sandbox) == []


def test_it_has_a_limit_of_its_own(phone, sandbox, settings):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"improved_prompts_per_user": (2, 3600)}
    for _ in range(2):
        assert phone.post("improve-prompt", DRAFT).status_code == 200

    assert_refused(phone.post("improve-prompt", DRAFT), 429, "ERR_4004")
    assert phone.post("quote-video", {"prompt": DRAFT["prompt"]}).status_code == 200
    assert len(asked(sandbox)) == 2


def test_its_spend_cap_stops_it_before_a_call(phone, sandbox, settings):
    settings.PROVIDER_SPEND_CAPS = {"day": {"openrouter": Decimal("0.0005")}, "month": {}}
    assert phone.post("improve-prompt", DRAFT).status_code == 200
    assert phone.post("improve-prompt", DRAFT).status_code == 200  # 0.0004 of 0.0005 were spent

    assert_not_improved(phone.post("improve-prompt", DRAFT))

    assert len(asked(sandbox)) == 2
    assert spent_usd() == 2 * COST_USD


def test_the_cost_of_prompts_stays_when_the_day_is_counted(phone, sandbox):
    phone.post("improve-prompt", DRAFT)

    spend.rollup_daily_spend(now=clock.now())

    assert spent_usd() == COST_USD
    assert SpendDay.objects.get(provider="openrouter").usd == COST_USD


def test_consent_is_needed_for_openrouter(phone, sandbox, settings):
    settings.REQUIRE_AI_CONSENT = True
    assert_refused(phone.post("improve-prompt", DRAFT), 403, "ERR_4021")

    consent = {"kind": "ai_providers", "version": "1", "providers": ["openrouter"]}
    assert phone.post("record-consent", consent).status_code == 200

    assert phone.post("improve-prompt", DRAFT).status_code == 200
    assert len(asked(sandbox)) == 1


def test_a_slow_openrouter_leaves_threads_to_others(phone, sandbox, monkeypatch):
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(service, "_slots", full)

    assert_not_improved(phone.post("improve-prompt", DRAFT))

    full.release()
    assert phone.post("improve-prompt", DRAFT).status_code == 200
    assert len(asked(sandbox)) == 1


# --- Moderation -----------------------------------------------------------------------------------


@pytest.fixture
def moderated(settings, sandbox):
    settings.MODERATION = ["openai"]
    sandbox.control("moderation", flag=["bomb"])


@pytest.mark.usefixtures("moderated")
def test_a_draft_that_is_not_allowed_is_refused_once_and_not_sent(phone, sandbox):
    for _ in range(2):
        details = assert_refused(
            phone.post("improve-prompt", DRAFT | {"prompt": "a bomb"}), 422, "ERR_4016"
        )
        assert details["input"] == "prompt"

    assert asked(sandbox) == []
    assert Violation.objects.filter(user_id=phone.user_id).count() == 1


@pytest.mark.usefixtures("moderated")
def test_an_answer_that_is_not_allowed_is_not_shown_and_no_violation(phone, sandbox):
    sandbox.control("openrouter", prompt="a red bomb")

    assert_not_improved(phone.post("improve-prompt", DRAFT))

    assert not Violation.objects.exists()
    assert spent_usd() == COST_USD


def test_without_moderation_no_answer_is_given(phone, sandbox, settings):
    settings.MODERATION = ["openai"]
    sandbox.control("moderation", status=500)

    assert_refused(phone.post("improve-prompt", DRAFT), 503, "ERR_5002")

    assert asked(sandbox) == []
