"""OpenRouter's chat completions, as strict as what Rendio relies on."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from generation.prompt_helper.openrouter import SCHEMA
from tests.helpers.sandbox_control import Sandbox

BODY = {
    "models": ["first/model", "second/model"],
    "messages": [
        {"role": "system", "content": "Improve prompts."},
        {"role": "user", "content": "a red balloon"},
    ],
    "max_completion_tokens": 100,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "improved", "strict": True, "schema": SCHEMA},
    },
    "provider": {"require_parameters": True},
}


def ask(sandbox: Sandbox, *, key: str = "key", **changes: Any) -> requests.Response:
    return requests.post(
        f"{sandbox.url}/openrouter/api/v1/chat/completions",
        json={name: value for name, value in (BODY | changes).items() if value is not None},
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=30,
    )


def test_the_first_model_answers_in_the_asked_shape_and_states_its_cost(sandbox):
    body = ask(sandbox).json()

    [choice] = body["choices"]
    assert (body["model"], choice["finish_reason"]) == ("first/model", "stop")
    assert sorted(json.loads(choice["message"]["content"])) == sorted(SCHEMA["required"])
    assert body["usage"]["cost"] > 0


def test_model_is_asked_before_models(sandbox):
    assert ask(sandbox, model="own/model", models=["other/model"]).json()["model"] == "own/model"


def test_the_next_model_answers_where_the_first_fails(sandbox):
    sandbox.control("openrouter", outcome="fallback")

    assert ask(sandbox).json()["model"] == "second/model"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("models", []),
        ("models", ["a/1", "a/2", "a/3", "a/4"]),
        ("models", ["no-vendor"]),
        ("messages", None),
        ("messages", [{"role": "system", "content": "Improve prompts."}]),
        ("messages", [{"role": "robot", "content": "a red balloon"}]),
        ("max_completion_tokens", 1),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("provider", {}),
        ("max_tokens", 100),
    ],
)
def test_what_openrouter_refuses_or_would_ignore_is_400(sandbox, name, value):
    answer = ask(sandbox, **{name: value})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)


def test_a_call_without_a_key_is_401(sandbox):
    assert ask(sandbox, key="").status_code == 401
