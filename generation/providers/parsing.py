"""Parsing of values that came from providers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rendio.common.outbound import http

MAX_RETRY_SECONDS = 60
_REQUEST_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
MAX_DETAIL = 500
# The signature of a URL: the rest of the path below /media/ (generation.media), or the query (a
# bucket).
_SIGNATURE = re.compile(r"(https?://(?:[^\s\"'<>?]*?/media/|[^\s\"'<>?]*\?))[^\s\"'<>]+")


def clean_text(value: object, *, max_length: int) -> str:
    """Return text that PostgreSQL accepts: without NUL and lone surrogates. None becomes ""."""
    text = "" if value is None else str(value)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:max_length]


def clean_detail(value: object) -> str:
    """A provider's words about a failure, as `clean_text`, at most MAX_DETAIL characters.

    Signed URLs lose their signatures: providers repeat the address of an image or of weights that
    they could not load, and staff read the words.
    """
    text = "" if value is None else str(value)[: 10 * MAX_DETAIL]
    text = _SIGNATURE.sub(r"\1…", text)
    return clean_text(text, max_length=MAX_DETAIL)


def dict_or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object. {} for anything else."""
    return dict_or_empty(http.Response(200, body, {}).json())


def dump_json(payload: Mapping[str, Any], *, max_length: int) -> str:
    """Serialize to JSON. "" if longer than `max_length` characters, because truncated JSON is not
    JSON."""
    text = clean_text(json.dumps(payload, ensure_ascii=False), max_length=max_length + 1)
    return text if len(text) <= max_length else ""


def parse_request_id(value: Any) -> str:
    """Return an id that is safe in a URL and in the database. "" for anything else."""
    return value if isinstance(value, str) and _REQUEST_ID.fullmatch(value) else ""


def parse_int(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def parse_percent(text: object) -> int | None:
    """Return the last percentage in a text, such as a log line. None without one."""
    found = re.findall(r"(\d{1,3})\s?%", str(text))
    return min(int(found[-1]), 100) if found else None


def parse_retry_after(response: http.Response) -> int:
    """Return the seconds of `Retry-After`, clamped to 1..MAX_RETRY_SECONDS. Default: 5."""
    seconds = re.fullmatch(r"[0-9]{1,6}", response.headers.get("Retry-After", "").strip())
    return min(max(int(seconds[0]), 1), MAX_RETRY_SECONDS) if seconds else 5
