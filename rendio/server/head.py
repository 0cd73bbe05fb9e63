"""The head of a request (RFC 9112, 2 to 6), parsed and validated.

As strict as gunicorn's parser, and stricter where that is only a matter of configuration: nothing
ambiguous passes, because a proxy in front of us may read it in another way.
tests/ops/test_heads.py compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urlsplit

MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 4094
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8190
# RFC 9110, 9.1 and 5.6.2: a token. Registered methods are in capitals; shortest and longest of
# those that are in use.
_METHOD = r"[-A-Z0-9!$%&'*+.^_`|~]{3,20}"
_REQUEST_LINE = re.compile(rf"({_METHOD}) ([\x21-\x7e]+) HTTP/1\.([0-9])")
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
# RFC 9110, 5.5; a tab is allowed. Line ends are gone by then, unless one is incomplete.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(r"[0-9]{1,18}")
# A second one would leave the message ambiguous (RFC 9110, 5.3).
_ONCE = frozenset({"HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"})
# Names that clients send are few.
_REMEMBERED_NAMES = 1_000


class Malformed(Exception):
    """The client's request is no HTTP, or goes beyond a limit. `status` is the response's."""

    def __init__(self, problem: str, *, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


@dataclass(slots=True)
class Head:
    method: str
    target: str  # as it was sent
    path: str  # decoded to bytes, these as latin-1 (PEP 3333)
    query: str
    minor_version: int
    fields: dict[str, str]  # by their names in WSGI's environ; repeated ones joined by commas
    body_bytes: int  # 0 for a chunked body
    is_chunked: bool

    @property
    def closes(self) -> bool:
        """Whether the client wants the connection to be closed after the response (RFC 9112,
        9.3)."""
        wanted = self.fields.get("HTTP_CONNECTION")
        if wanted is not None:
            options = [option.strip(" \t") for option in wanted.lower().split(",")]
            if "close" in options:
                return True
            if "keep-alive" in options:
                return False
        return self.minor_version == 0

    @property
    def expects_continue(self) -> bool:
        return "HTTP_EXPECT" in self.fields and self.minor_version > 0


def parse(data: bytes) -> Head:
    """A complete head, without the empty line at its end. Raises Malformed."""
    line, *lines = data.decode("latin-1").split("\r\n")
    if len(line) > MAX_LINE_BYTES:
        raise Malformed("the request line is too long", status=414)
    found = _REQUEST_LINE.fullmatch(line)
    if not found:
        raise Malformed("no request line")
    method, target, minor_version = found.groups()
    path, query = _split(method, target)
    fields = _fields(lines)
    if fields.get("HTTP_EXPECT", "100-continue").lower() != "100-continue":
        raise Malformed("an expectation that is unknown", status=417)
    body_bytes, is_chunked = _framing(fields, int(minor_version))
    return Head(method, target, path, query, int(minor_version), fields, body_bytes, is_chunked)


def _split(method: str, target: str) -> tuple[str, str]:
    """Path and query of the request line's target (RFC 9112, 3.2)."""
    if target.startswith("/"):
        path, _, query = target.partition("#")[0].partition("?")
    elif "://" in target or (target == "*" and method == "OPTIONS"):
        try:
            parts = urlsplit(target)
        except ValueError:
            raise Malformed("no target") from None
        path, query = parts.path, parts.query
    else:
        raise Malformed("no target")
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    return path, query


def _fields(lines: list[str]) -> dict[str, str]:
    if len(lines) > MAX_FIELDS:
        raise Malformed("too many fields", status=431)
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed("a line without a colon")
        if len(line) > MAX_FIELD_BYTES - len("\r\n"):
            raise Malformed("a field is too long", status=431)
        if _FORBIDDEN.search(value):
            raise Malformed("a control character")
        key = _environ_name(name)
        if key is None:
            continue
        value = value.strip(" \t")
        if key not in fields:
            fields[key] = value
        elif key in _ONCE:
            raise Malformed("a field that may be there once")
        else:
            fields[key] += f",{value}"
    return fields


@lru_cache(_REMEMBERED_NAMES)
def _environ_name(name: str) -> str | None:
    """The name in WSGI's environ. Raises Malformed.

    None for a name with an underscore: the environ could not tell it from one with a hyphen.
    """
    if not _NAME.fullmatch(name):
        raise Malformed("not the name of a field")
    if "_" in name:
        return None
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def _framing(fields: dict[str, str], minor_version: int) -> tuple[int, bool]:
    """The body's length, and whether it is chunked (RFC 9112, 6)."""
    length = fields.get("CONTENT_LENGTH")
    coding = fields.get("HTTP_TRANSFER_ENCODING")
    if coding is None:
        if length is None:
            return 0, False
        if not _LENGTH.fullmatch(length):
            raise Malformed("no length")
        return int(length), False
    if length is not None or minor_version == 0:
        raise Malformed("a body with two lengths")
    if coding.lower() != "chunked":
        raise Malformed("a transfer coding that is unknown", status=501)
    return 0, True
