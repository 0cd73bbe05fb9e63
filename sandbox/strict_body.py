"""Strict parsing of a control's JSON body. A misspelt field is an error, not ignored."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from sandbox.times import parse_milliseconds

MAX_SECONDS = 86_400
UUID_PATTERN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class BadRequest(Exception):
    """The message is for the author of the request. Returned with 400."""


class StrictBody:
    """The fields of a body. `find_…` returns None for an omitted field, `get_…` raises
    BadRequest.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    @classmethod
    async def parse(cls, request: Request) -> "StrictBody":
        try:
            body = await request.json() if await request.body() else {}
        except ValueError:
            raise BadRequest("The body is not JSON.") from None
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.")
        return cls(body)

    def allow_only(self, known: Collection[str]) -> None:
        if unknown := sorted(set(self._body) - set(known)):
            names = ", ".join(sorted(known)) or "nothing"
            raise BadRequest(f"Unknown: {', '.join(unknown)}. Known here: {names}.")

    def has(self, name: str) -> bool:
        return name in self._body

    def find_text(self, name: str) -> str | None:
        text: str | None = self._find(name, str, "a text that is not empty", bool)
        return text

    def get_text(self, name: str) -> str:
        text = self.find_text(name)
        if text is None:
            raise BadRequest(f"{name} is missing.")
        return text

    def find_texts(self, name: str) -> list[str] | None:
        texts: list[str] | None = self._find(
            name,
            list,
            "a list of texts that are not empty",
            lambda value: all(isinstance(text, str) and text for text in value),
        )
        return texts

    def find_choice(self, name: str, choices: Collection[str]) -> str | None:
        expected = f"one of {', '.join(choices)}"
        choice: str | None = self._find(name, str, expected, lambda value: value in choices)
        return choice

    def get_choice(self, name: str, choices: Collection[str]) -> str:
        choice = self.find_choice(name, choices)
        if choice is None:
            raise BadRequest(f"{name} is missing: one of {', '.join(choices)}.")
        return choice

    def find_flag(self, name: str) -> bool | None:
        flag: bool | None = self._find(name, bool, "true or false")
        return flag

    def find_flag_as_sent(self, name: str) -> bool | str | None:
        """Return a flag unchanged: true, false, or one of the texts "true" and "false", as Apple
        also writes flags."""
        value = self._body.get(name)
        return value if value in ("true", "false") else self.find_flag(name)

    def find_seconds(
        self, name: str, *, may_be_past: bool = False, max_seconds: int = MAX_SECONDS
    ) -> float | None:
        minimum = -max_seconds if may_be_past else 0
        expected = f"seconds, from {minimum} to {max_seconds}"
        seconds = self._find(
            name, int | float, expected, lambda seconds: minimum <= seconds <= max_seconds
        )
        return None if seconds is None else float(seconds)

    def find_count(self, name: str, *, minimum: int, maximum: int = 1_000_000) -> int | None:
        expected = f"a whole number from {minimum} to {maximum}"
        count: int | None = self._find(
            name, int, expected, lambda count: minimum <= count <= maximum
        )
        return count

    def find_price(self, name: str) -> int | None:
        """Return a price in thousandths of the currency."""
        return self.find_count(name, minimum=0, maximum=1_000_000_000)

    def find_milliseconds(self, name: str) -> int | None:
        """Return a time in milliseconds, given as milliseconds since 1970 or an ISO date with a
        time zone."""
        expected = "milliseconds since 1970, or an ISO date with its time zone"
        value = self._find(
            name, int | str, expected, lambda value: parse_milliseconds(value) is not None
        )
        return parse_milliseconds(value)

    def find_uuid(self, name: str) -> str | None:
        """Return a UUID in its original case."""
        text: str | None = self._find(name, str, "a UUID", is_uuid)
        return text

    def find_url_or_none(self, name: str) -> str | None:
        """Return a URL. None if omitted or null."""
        if self._body.get(name) is None:
            return None
        url: str = self._find(name, str, "a URL with http:// or https://, or null", _is_url)
        return url

    def find_object(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._find(name, dict, "a JSON object")
        return found

    def get_list(self, name: str) -> list[Any]:
        found: list[Any] | None = self._find(name, list, "a list")
        if found is None:
            raise BadRequest(f"{name} is missing.")
        return found

    def _find(
        self,
        name: str,
        kind: Any,
        expected: str,
        is_valid: Any = lambda value: True,
    ) -> Any:
        if name not in self._body:
            return None
        value = self._body[name]
        # In Python a bool is an int; in JSON it is not.
        is_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not is_kind or not is_valid(value):
            raise BadRequest(f"{name} must be {expected}, not {value!r}.")
        return value


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def is_uuid(value: object) -> bool:
    return isinstance(value, str) and UUID_PATTERN.fullmatch(value) is not None
