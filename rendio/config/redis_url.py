"""REDIS_URL: one address with one meaning for redis-py, Django's cache, Celery and Flower.

Each of them reads URLs differently: Celery has other values for `ssl_cert_reqs` than redis-py, and
verifies nothing without the parameter. So the URL is parsed here, and rewritten for each client.
With rediss:// the server's certificate and name are verified, unless the URL disables that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMES = ("redis", "rediss")
# Celery and its command line read these before their settings.
CELERYS_OWN = (
    "BROKER_URL",
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
)
TLS_DEFAULTS = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


@dataclass(frozen=True)
class RedisAddress:
    # For redis-py and Django's cache.
    url: str
    # For Celery, which has a separate setting for TLS: broker_use_ssl.
    broker_url: str
    broker_use_ssl: dict[str, Any] | None


def parse(url: str) -> RedisAddress:
    """Raises ValueError, whose text continues "REDIS_URL …" and quotes no user or password."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ValueError(
            "must begin with redis:// or rediss://. Sockets and sentinels are not supported."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        host, port = None, 0
    if not host or parts.fragment:
        raise ValueError(
            "cannot be read: rediss://user:password@host:6379/0, user and password percent-encoded."
        )
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdigit()):
        raise ValueError("must end with the number of a database: redis://host:6379/0")
    address = f"{scheme}://{_login(parts)}{f'[{host}]' if ':' in host else host}:{port}/{database}"
    given = _tls_options(parts.query, is_tls=scheme == "rediss")
    if scheme == "redis":
        return RedisAddress(url=address, broker_url=address, broker_use_ssl=None)
    options = TLS_DEFAULTS | given
    return RedisAddress(
        url=f"{address}?{urlencode(options, quote_via=quote)}",
        broker_url=address,
        broker_use_ssl=options,
    )


def _login(parts: SplitResult) -> str:
    """Encoded in full: Django's cache takes a comma, and Celery a semicolon, for the next server's
    address."""
    if parts.username is None and parts.password is None:
        return ""
    user, password = (
        quote(unquote(one or ""), safe="") for one in (parts.username, parts.password)
    )
    return f"{user}:{password}@"


def _tls_options(query: str, *, is_tls: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _READERS:
            known = ", ".join(_READERS)
            raise ValueError(f"has {name}, which is none of {known}.")
        if not is_tls:
            raise ValueError(f"has {name}, and is no rediss:// address.")
        try:
            options[name] = _READERS[name](text)
        except ValueError as error:
            raise ValueError(f"has {name}={text}, {error}") from None
    return options


def _requirement(text: str) -> str:
    """Celery's words too: CERT_REQUIRED."""
    word = text.removeprefix("CERT_").lower()
    if word not in ("required", "optional", "none"):
        raise ValueError("which is not required, optional or none.")
    return word


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("which is not true or false.")
    return text.lower() == "true"


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError("and there is no such file.")
    return text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": _yes_or_no,
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
}
