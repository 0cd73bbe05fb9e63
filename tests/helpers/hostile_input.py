"""What attackers and broken apps send, as hypothesis strategies."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.helpers import budget

Test = TypeVar("Test", bound=Callable[..., Any])

UUID = "01a1fc89-91ea-73fa-8415-4b583de90bfb"
NUMBERS = ["0", "-1", "1e999", "9" * 400, "9" * 5000, "٣", "0x10", "NaN", "1_000"]
WORDS = ["", " ", "\0", "null", "../../etc/passwd", "%00", "' OR 1=1 --", "\u202etxt", "\ud800",
         "💥" * 50, "x" * 5000, "[" * 3000, UUID, "{" + UUID + "}"]  # fmt: skip
texts = st.sampled_from(NUMBERS + WORDS) | st.text(st.characters(), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=6,
)
# As it stands in a header: one character is one byte, and a line has no end in it.
header_texts = st.sampled_from(
    [*NUMBERS[:5], "", "x" * 5000, ",", ";;;q=", "\xff", "[" * 3000]
) | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


def examples(count: int) -> Callable[[Test], Test]:
    """The same ones each time, on one database for all of them, however slow the machine is.

    `count` in a thorough run; see tests/helpers/budget.py."""
    return hypothesis_settings(
        max_examples=budget.examples(count),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """With something else in some places of it."""
    bytes_ = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(bytes_)))
        bytes_[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(bytes_)


@st.composite
def json_bodies(draw: st.DrawFn, names: list[str]) -> bytes:
    """Objects with these names and others, written well or not so well."""
    body = draw(st.dictionaries(st.sampled_from(names) | texts, values, max_size=5))
    written = json.dumps(body).encode()
    return draw(st.just(written) | damaged(written) | st.binary(max_size=40))


@st.composite
def forged_tokens(draw: st.DrawFn, genuine: str) -> str:
    """A JSON Web Token that is not the genuine one: damaged, or with other parts than were
    signed."""
    header, payload, signature = genuine.split(".")
    odd = values.map(lambda value: _part(json.dumps(value).encode()))
    forms = [
        damaged(genuine.encode()).map(lambda damage: damage.decode("latin-1")),
        st.tuples(_changed(header), st.just(payload), st.just(signature)).map(".".join),
        st.tuples(st.just(header), _changed(payload), st.just(signature)).map(".".join),
        st.tuples(odd, odd, st.just(signature)).map(".".join),
        st.sampled_from(["[" * 3000, '{"a":' * 2000]).map(
            lambda deep: ".".join([_part(deep.encode()), payload, signature])
        ),
        texts,
    ]
    return draw(st.one_of(forms).filter(lambda token: token != genuine))


def _changed(part: str) -> st.SearchStrategy[str]:
    """A part of a token with another value under one of its names, or under a new one."""
    told = json.loads(base64.urlsafe_b64decode(part + "=="))
    changes = st.dictionaries(st.sampled_from(sorted(told)) | texts, values, min_size=1, max_size=2)
    return changes.map(lambda change: _part(json.dumps(told | change).encode()))


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
