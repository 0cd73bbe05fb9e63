"""What came from outside, as values that we can use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rendio.common.outbound import http

MAX_RETRY_SECONDS = 60
_REQUEST_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)


def clean_text(value: object, *, max_length: int) -> str:
    """Text from outside as PostgreSQL keeps it: without NUL and lone surrogates; "" for None."""
    text = "" if value is None else str(value)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:max_length]


def dict_or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in it; {} where there is none."""
    return dict_or_empty(http.Response(200, body, {}).json())


def dump_json(payload: Mapping[str, Any], *, max_length: int) -> str:
    """JSON to be kept as text; of more than `longest` characters none, as half of it is none."""
    text = clean_text(json.dumps(payload, ensure_ascii=False), max_length=max_length + 1)
    return text if len(text) <= max_length else ""


def parse_request_id(value: Any) -> str:
    """An id that can stand in an address, and be kept; "" for anything else."""
    return value if isinstance(value, str) and _REQUEST_ID.fullmatch(value) else ""


def parse_int(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def parse_percent(text: object) -> int | None:
    """The last percentage in it: how far a job is, where a log is all that tells."""
    found = re.findall(r"(\d{1,3})\s?%", str(text))
    return min(int(found[-1]), 100) if found else None


def parse_retry_after(response: http.Response) -> int:
    """How many seconds to wait, within reason; 5 where it does not say."""
    seconds = re.fullmatch(r"[0-9]{1,6}", response.headers.get("Retry-After", "").strip())
    return min(max(int(seconds[0]), 1), MAX_RETRY_SECONDS) if seconds else 5
