"""Bodies as attackers and odd clients send them: refused by the catalogue, or understood."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.helpers.model_ids import SORA
from tests.helpers.phone import assert_refused

ORDER = {"model_id": str(SORA), "prompt": "A red balloon over the sea"}


@pytest.fixture
def send(phone):
    def post(body, content_type="application/json"):
        return phone.client.post(
            "/v1/generate-video",
            body,
            content_type=content_type,
            headers={
                "Authorization": f"Bearer {phone.session['access_token']}",
                "Idempotency-Key": str(uuid4()),
            },
        )

    return post


def with_prompt(literal):
    """The order with a prompt spelt in JSON as given."""
    return json.dumps(ORDER | {"prompt": "PROMPT"}).replace('"PROMPT"', literal)


MALFORMED = {
    "cut": '{"prompt": "A red',
    "no json": "prompt=A+red+balloon",
    "list": '["A red balloon"]',
    "text": '"A red balloon"',
    "number": "4",
    "null": "null",
    "bad utf-8": b'{"prompt": "\xff\xfe\xfd"}',
    "utf-16": '{"prompt": "A red balloon"}'.encode("utf-16"),
    "NaN": '{"prompt": "A red balloon", "settings": {"duration": NaN}}',
    "Infinity": '{"prompt": "A red balloon", "settings": {"duration": -Infinity}}',
    "NUL": with_prompt(r'"A red\u0000balloon"'),
    "NUL behind a backslash": with_prompt(r'"A red\\\u0000balloon"'),
    "NUL in a name": '{"prompt": "A red balloon", "a\\u0000b": 1}',
    "raw NUL": with_prompt('"A red\x00balloon"'),
    "lone surrogate": with_prompt(r'"A red\ud800balloon"'),
    "reversed surrogates": with_prompt(r'"A red\udc00\ud800balloon"'),
    "200,000 arrays": '{"prompt": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "100,000 objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "5,000 digits": '{"prompt": "A red balloon", "n": ' + "9" * 5000 + "}",
}


def test_a_malformed_body_is_400_and_costs_nothing(phone, send):
    for kind, body in MALFORMED.items():
        answer = send(body)

        assert answer.status_code == 400, kind
        assert answer.json()["error"]["code"] == "ERR_4008", kind
        assert "body" in answer.json()["error"]["details"]["fields"], kind
    assert phone.balance() == 10


def test_deep_nesting_gets_a_response(phone, send):
    for depth in (100, 300, 500, 700, 900, 1000, 2000, 5000, 20_000):
        body = '{"prompt": "ab", "extra": ' + "[" * depth + "]" * depth + "}"

        assert send(body).status_code == 400, depth
    assert phone.balance() == 10


def test_nesting_is_accepted_up_to_the_limit(send, settings):
    settings.MAX_JSON_DEPTH = 4

    def nested(depth):
        # The body itself is the first level.
        extra = "[" * (depth - 1) + "]" * (depth - 1)
        return send(json.dumps(ORDER | {"extra": "EXTRA"}).replace('"EXTRA"', extra))

    assert nested(4).status_code == 200
    fields = assert_refused(nested(5), 400, "ERR_4008")["fields"]
    assert fields == {"body": ["Nested too deeply."]}


@pytest.mark.parametrize(
    "literal",
    [
        r'"A balloon\\u0000 spelt out"',
        r'"A \ud83c\udf88 in an escaped pair"',
        '"A 🎈 as it is"',
        r'"Tab\tand\nline"',
    ],
)
def test_unusual_but_valid_json_is_accepted(phone, send, literal):
    answer = send(with_prompt(literal))

    assert answer.status_code == 200, answer.content
    job = phone.get("get-video-jobs").json()["jobs"][0]
    assert job["prompt"] == json.loads(literal)


def test_a_body_of_three_megabytes_is_413_and_charges_nothing(phone, send):
    answer = send(json.dumps(ORDER | {"prompt": "x" * 3_000_000}))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "ERR_4008")
    assert phone.balance() == 10


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_another_media_type_is_415(phone, send, kind):
    answer = send(json.dumps(ORDER), content_type=kind)

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "ERR_4008")
    assert (
        send(json.dumps(ORDER), content_type="application/json; charset=utf-8").status_code == 200
    )


def test_an_empty_body_is_an_empty_object(phone, send):
    answer = send(b"")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ERR_4003")
