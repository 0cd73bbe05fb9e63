"""Errors to Sentry, if SENTRY_DSN is set; otherwise nothing is imported.

Sent are the exception with its frames (no local variables), the view or task, and the request id.
No body, headers, cookies, query or address; values shaped like a secret or personal data are
redacted in all texts, as in the log.
"""

from __future__ import annotations

from typing import Any

from rendio.common.observability import logs, request_id


def start(*, dsn: str, environment: str) -> None:
    """Call once in a process."""
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
    """Redact the event. Sentry's own scrubber goes by field names, which paths and messages
    lack."""
    for name in ("request", "user", "breadcrumbs", "server_name"):
        event.pop(name, None)
    if caused_by := request_id.current():
        event.setdefault("tags", {})["request_id"] = caused_by
    return logs.redact_values(event)
