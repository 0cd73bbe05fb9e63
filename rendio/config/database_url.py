"""DATABASE_URL, parsed by libpq: every parameter counts, or is refused by name.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

SCHEMES = ("postgresql://", "postgres://")
# Parameters for which Django has a setting.
DJANGO_NAMES = {
    "dbname": "NAME",
    "user": "USER",
    "password": "PASSWORD",
    "host": "HOST",
    "port": "PORT",
}
# libpq reads these numbers only once it connects by TCP.
NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
REFUSED = {
    "client_encoding": "Rendio uses UTF-8 only.",
    "replication": "a replication connection accepts no queries.",
    "service": "write the service's parameters into the address.",
    "servicefile": "write the service's parameters into the address.",
}
# A folder that cannot contain a socket: a connection always fails.
NOWHERE = "/nonexistent/rendio"


def parse(url: str) -> dict[str, str]:
    """The parameters of `url`, by libpq's names.

    Raises ValueError, whose text continues "DATABASE_URL …" and quotes no user, password or host.
    """
    if not url.startswith(SCHEMES):
        raise ValueError(f"must begin with {SCHEMES[0]}.")
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as error:
        if unknown := re.search(r'invalid URI query parameter: "([^"]*)"', str(error)):
            raise ValueError(f"has {unknown[1]}, which libpq does not know.") from None
        raise ValueError(
            "cannot be read: user, password, host and values must be percent-encoded."
        ) from None
    for name, reason in REFUSED.items():
        if name in parameters:
            raise ValueError(f"has {name}: {reason}")
    if not parameters.get("dbname"):
        raise ValueError("names no database: postgresql://user:password@host:5432/name")
    if not re.fullmatch(r"[0-9,]*", parameters.get("port", "")):
        # As in user:pass/word@host, where it is the first half of the password.
        raise ValueError("has a port that is no number, or a password that is not percent-encoded.")
    for name in NUMBERS:
        if not re.fullmatch(r"[0-9]{1,9}", parameters.get(name, "0")):
            raise ValueError(f"has {name}={parameters[name]!r}, which is not a whole number.")
    for name in FILES:
        path = parameters.get(name, "")
        if path and (name, path) != ("sslrootcert", "system") and not Path(path).is_file():
            raise ValueError(f"has {name}={path}, and there is no such file.")
    if complaint := _libpq_error(parameters):
        raise ValueError(f"is refused by libpq: {complaint}")
    return parameters


def _libpq_error(parameters: Mapping[str, str]) -> str:
    """libpq's message about an unknown value, such as sslmode=nonsense; "" if there is none.

    libpq checks all values before it connects. Nothing is sent: the host cannot exist.
    """
    hosts = parameters.get("host", "").split(",")
    tried = dict(parameters) | {"host": ",".join(NOWHERE for _ in hosts)}
    tried.pop("hostaddr", None)
    attempt = PGconn.connect_start(make_conninfo(**tried).encode())
    try:
        said = attempt.error_message.decode(errors="replace").strip()
    finally:
        attempt.finish()
    return "" if NOWHERE in said else said


def django_settings(
    parameters: Mapping[str, str], *, defaults: Mapping[str, Any], options: str
) -> dict[str, Any]:
    """The address as an entry of DATABASES. Its parameters override `defaults`.

    `options` are PostgreSQL's session settings; those of the address follow them, and PostgreSQL
    uses the last.
    """
    given = {
        name: int(value) if name in NUMBERS else value
        for name, value in parameters.items()
        if name not in DJANGO_NAMES
    }
    if joined := f"{options} {parameters.get('options', '')}".strip():
        given["options"] = joined
    return {
        **{theirs: parameters.get(name, "") for name, theirs in DJANGO_NAMES.items()},
        "OPTIONS": {**defaults, **given},
    }


def url(parameters: Mapping[str, str]) -> str:
    """A URL with these parameters, which `parse` reads."""
    return f"{SCHEMES[0]}/?{urlencode(dict(parameters), quote_via=quote)}"
