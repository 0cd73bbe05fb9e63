"""Errors to Sentry, where SENTRY_DSN is set; else nothing of it is loaded.

What it is sent: the exception with its frames (no local variables), the view or task, and the
request id. No body, headers, cookies, query or address, and what is shaped like a secret or a
person is taken out of all texts, as in the log.
"""

from __future__ import annotations

from typing import Any

from rendio.common.observability import logs, request_id


def start(*, dsn: str, environment: str) -> None:
    """Once in a process."""
    import sentry_sdk

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=scrub,  # type: ignore[arg-type]
    )


def scrub(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Sentry's own scrubber goes by the names of fields, and paths and messages have none."""
    for name in ("request", "user", "breadcrumbs", "server_name"):
        event.pop(name, None)
    if caused_by := request_id.current():
        event.setdefault("tags", {})["request_id"] = caused_by
    return logs.redact_values(event)
