"""Logging: JSON lines on standard output, one event a line, secrets redacted.

All processes log in one format: level, logger, event (a constant text) and timestamp; of a request
request_id (request_id.py); of a task task and task_id (rendio/celery.py); and the fields given by
keyword or `extra`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog
from django.http import HttpRequest
from structlog.typing import EventDict, WrappedLogger

_SECRET_KEYS = re.compile(
    r"token|secret|password|authorization|api_key|private_key|cookie|signature|prompt|email"
    r"|device_id",
    re.I,
)
_SECRET_SHAPES = re.compile(
    r"eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JSON Web Token
    r"|\b(?:Key|Bearer|Basic)\s+[\w.:~+/=-]{8,}"  # an Authorization header
    r"|\b(?:sk|r8|key|whsec)[_-](?=\S*\d)[\w+/=-]{16,}"  # keys that say so
    r"|(?<=://)[^\s/@:]*:[^\s/@]+@"  # name (Redis: none) and password in an address
    r"|-----BEGIN[^-]+-----[^-]*(?:-----END[^-]+-----)?"  # a key in PEM
    r"|[\w.+-]+@[\w-]+\.[\w.]+"  # an e-mail address
    r"|(?<=\(device_id\)=\()[0-9a-f-]{36}"  # what PostgreSQL says of a key that is there already
)


def redact(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """structlog's processor for `redact_values`."""
    return redact_values(event)


def redact_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values that are named or shaped like a secret or personal data, at any depth."""
    return {key: _redact_value(key, value) for key, value in fields.items()}


def _redact_value(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _redact_value(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(key, item) for item in value]
    if value is not None and _SECRET_KEYS.search(key):
        return "[redacted]"
    if value is None or isinstance(value, bool | int | float):
        return value
    # Redacted as it would be written: the text of an exception or model may hold anything.
    return _SECRET_SHAPES.sub("[redacted]", str(value))


def replace_path_by_route(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """structlog's processor for Django's request lines: method and route instead of the path, which
    may hold a media token, and instead of the query, which may hold a webhook's."""
    request = event.pop("request", None)
    if isinstance(request, HttpRequest):
        match = request.resolver_match
        event["method"], event["route"] = request.method, match.route if match else None
        # As django.utils.log.log_response escapes it.
        path = request.path.encode("unicode_escape").decode("ascii")
        event["event"] = event["event"].removesuffix(f": {path}")
    return event


_CONTEXT: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
]
_TIMESTAMP = structlog.processors.TimeStamper(fmt="iso", utc=True)
# Of records that the standard library's loggers make.
_STANDARD_LIBRARY = [
    *_CONTEXT,
    structlog.stdlib.ExtraAdder(),
    _TIMESTAMP,
    replace_path_by_route,
]
# Of events that structlog's loggers make.
_STRUCTLOG = [
    *_CONTEXT,
    _TIMESTAMP,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def logging_config(level: str) -> dict[str, Any]:
    """Django's LOGGING: everything through one handler to standard output."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _STANDARD_LIBRARY,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    structlog.processors.JSONRenderer(default=str),
                ],
            }
        },
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
            }
        },
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            # Django's own handlers would print every 4xx a second time, as text.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True, "level": "WARNING"},
            "django.request": {"level": "ERROR"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "axes": {"level": "WARNING"},
            "botocore": {"level": "WARNING"},
        },
    }


def configure() -> None:
    """Route structlog through the standard library's logging, so that there is one output."""
    structlog.configure(
        processors=_STRUCTLOG,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
