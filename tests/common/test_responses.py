"""JSON of responses: the bytes of REST framework's renderer."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ErrorDetail
from rest_framework.renderers import JSONRenderer

from generation.models import JobStatus
from rendio.common.web.responses import ApiResponse, to_json

VALUES = {
    "nothing": None,
    "text": 'Grüße, 😀 and "quotes" \\ / <b> \u007f \u2028 \u2029',
    "control characters": "".join(map(chr, range(32))),
    "whole numbers": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1],
    "fractions": [0.0, -0.0, 0.1, 1.0, 0.1 + 0.2, 1e16, 1.5e300, 0.0001, 123456789.125],
    "a decimal": [Decimal("0.10"), Decimal("12")],
    "true and false": [True, False],
    "an id": UUID("5b0f0d5e-0000-4000-8000-00000000000b"),
    "a time": datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
    "a whole second": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "a time elsewhere": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
    "a day": date(2026, 1, 2),
    "a choice": JobStatus.COMPLETED,
    "a message": [gettext_lazy("Not found."), ErrorDetail("Wrong.", code="x")],
    "a pair": (1, 2),
    "numbers as keys": {1: "one", "b": 2, "a": 1},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_are_written_as_rest_framework_writes_them(value):
    assert to_json({"value": value}) == JSONRenderer().render({"value": value})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_body_reads_as_it_was(body):
    assert json.loads(to_json(body)) == body


def test_small_fractions_are_the_same_number_in_another_spelling():
    assert to_json([1e-07]) == b"[1e-7]"
    assert math.isclose(json.loads(to_json([1.5e-06]))[0], 1.5e-06, rel_tol=0)


def test_what_is_no_json_is_an_error():
    for value in ("\ud800", 2**64, object()):
        with pytest.raises(TypeError):
            to_json(value)


def test_response_states_its_type_and_headers():
    answer = ApiResponse({"a": 1}, status=201, headers={"Retry-After": "3"})

    assert (answer.status_code, answer.content) == (201, b'{"a":1}')
    assert answer.headers == {"Content-Type": "application/json", "Retry-After": "3"}
