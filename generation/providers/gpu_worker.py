"""The results of our own workers on rented GPUs (`ops/gpu`), the same at each host.

`output` is `{"files": [url, …]}`. `error` is a text, which begins with `content_policy_violation:`
or `invalid_input:` if the input was rejected.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from generation.providers.base import Failed, FailureReason, Media, MediaKind
from generation.providers.parsing import clean_detail, dict_or_empty

REJECTIONS = ("content_policy_violation", "invalid_input")


def parse_output(output: Any, kind: MediaKind, cost_usd: Decimal | None) -> Media | Failed:
    files = dict_or_empty(output).get("files")
    urls = [url for url in files if isinstance(url, str) and url] if isinstance(files, list) else []
    if urls:
        return Media(urls[0], kind, cost_usd, more_urls=tuple(urls[1:]) if kind == "image" else ())
    return Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result", cost_usd)


def parse_error(error: Any, cost_usd: Decimal | None) -> Failed:
    """`error` may also be RunPod's report of an exception: JSON text with the traceback and the
    worker's host, which are left out."""
    error_type, separator, message = str(error).partition(":")
    if separator and error_type in REJECTIONS:
        return Failed(
            FailureReason.REJECTED,
            error_type,
            clean_detail(message.strip()),
            cost_usd,
        )
    report = _parse_report(error)
    detail = f"{report.get('error_type')}: {report.get('error_message')}" if report else error
    return Failed(FailureReason.PROVIDER_ERROR, "worker_error", clean_detail(detail), cost_usd)


def _parse_report(error: Any) -> dict[str, Any]:
    try:
        report = dict_or_empty(json.loads(error))
    except (TypeError, ValueError, RecursionError):
        return {}
    return report if "error_message" in report else {}
