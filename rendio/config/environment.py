"""Strict readers of environment variables; each names the variable that it refuses.

A reader appends its problem to `problems` and returns a fallback, so that one start reports
everything that is wrong: rendio.settings raises at its end. A variable that is set to nothing
counts as not set, as in env files and compose files.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Container, Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import environ
from django.core.exceptions import ImproperlyConfigured

from rendio.common import signing_identity as identities
from rendio.common.keyring import DEFAULT_LABEL, KeyRing, parse
from rendio.common.signing_identity import SigningIdentity
from rendio.config import database_url, env_file, redis_url
from rendio.server import addresses

_T = TypeVar("_T")
_TRUE = {"true", "on", "ok", "yes", "y", "1"}
_FALSE = {"false", "off", "no", "n", "0"}
_NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)

BASE_DIR = Path(__file__).resolve().parents[2]

for _name, _value in env_file.read(BASE_DIR / ".env").items():
    if not os.environ.get(_name, "").strip():
        os.environ[_name] = _value
env = environ.Env()
# Values are literal. django-environ takes one that begins with $ for another variable's name,
# unless each $ is escaped.
env.escape_proxy = True
env.ENVIRON = {
    name: value.replace("$", r"\$") for name, value in os.environ.items() if value.strip()
}
problems: list[str] = []
if "ENVIRONMENT" not in env.ENVIRON and (
    _servers := [name for name in ("DATABASE_URL", "REDIS_URL") if name in env.ENVIRON]
):
    # Development signs with a key from the source. Programs that start their own servers
    # (`make run`, the tests) set ENVIRONMENT=development.
    raise ImproperlyConfigured(
        f"ENVIRONMENT is not set, and {' and '.join(_servers)} name real servers. Set"
        " ENVIRONMENT=production, or ENVIRONMENT=development if there is no real data."
    )
ENVIRONMENT = env.str("ENVIRONMENT", default="development")
if ENVIRONMENT not in {"development", "production"}:
    raise ImproperlyConfigured(
        f"ENVIRONMENT must be development or production, not {ENVIRONMENT!r}."
    )
PRODUCTION = ENVIRONMENT == "production"
# The sandbox signs Replicate's webhooks with this secret.
SANDBOX_WEBHOOK_SECRET = "whsec_dGhlIHNhbmRib3gncyBvd24gd2ViaG9vayBzZWNyZXQ="  # noqa: S105


def add_problem(problem: str) -> None:
    """Record a problem of the environment; the start fails with all of them."""
    problems.append(problem)


def _invalid(problem: str, *, instead: _T) -> _T:
    add_problem(problem)
    return instead


def boolean(name: str, *, default: bool) -> bool:
    """true or false, in any spelling that env files use."""
    text = env.str(name, default=str(default)).strip().lower()
    if text in _TRUE:
        return True
    if text not in _FALSE:
        add_problem(f"{name} must be true or false, not {text!r}.")
    return False


def integer(name: str, default: int, *, at_least: int = 0, at_most: int | None = None) -> int:
    """A whole number within bounds."""
    text = env.str(name, default=str(default)).strip()
    try:
        value = int(text)
    except ValueError:
        return _invalid(f"{name} must be a whole number, not {text!r}.", instead=default)
    if value < at_least:
        return _invalid(f"{name} must be at least {at_least}, not {value}.", instead=default)
    if at_most is not None and value > at_most:
        return _invalid(f"{name} must be at most {at_most}, not {value}.", instead=default)
    return value


def optional_integer(name: str, *, at_least: int = 1) -> int | None:
    """A whole number; None if not set."""
    return integer(name, at_least, at_least=at_least) if env.str(name, default="").strip() else None


def optional_instant(name: str) -> datetime | None:
    """An ISO 8601 time with offset (2026-01-31T12:00:00Z); None if not set."""
    text = env.str(name, default="").strip()
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        add_problem(f"{name} must be like 2026-01-31T12:00:00Z, not {text!r}.")
        return None
    return instant


def integer_map(name: str, *, of: Container[str]) -> dict[str, int]:
    """`fal:40,runway:5`: whole numbers from 1, by names in `of`."""
    found = {}
    for pair in filter(None, (part.strip() for part in env.str(name, default="").split(","))):
        what, _, number = pair.partition(":")
        if what not in of:
            add_problem(f"{name}: there is no {what!r}.")
        elif not (number.isascii() and number.isdigit() and 0 < int(number) < 2**31):
            add_problem(f"{name} must be name:number pairs, not {pair!r}.")
        else:
            found[what] = int(number)
    return found


def _decimal_map(name: str, text: str, *, of: Container[str]) -> dict[str, Decimal]:
    """`fal:500,runway:100.50`: dollars, by names in `of`."""
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        what, _, amount = pair.partition(":")
        if what not in of:
            add_problem(f"{name}: there is no {what!r}.")
        elif not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,4})?", amount):
            add_problem(f"{name} must be name:dollars pairs, not {pair!r}.")
        else:
            found[what] = Decimal(amount)
    return found


def decimal_map(name: str, *, of: Iterable[str], default_usd: int | None) -> dict[str, Decimal]:
    """`fal:500,runway:100.50`: dollars by names in `of`. A missing name has `default_usd`;
    `fal:off` means no cap for fal, `off` no cap at all."""
    names = list(of)
    text = env.str(name, default="").strip()
    if text == "off":
        return {}
    found = {} if default_usd is None else dict.fromkeys(names, Decimal(default_usd))
    dollars = []
    for pair in (part.strip() for part in text.split(",")):
        what, _, amount = pair.partition(":")
        if what in names and amount == "off":
            found.pop(what, None)
        else:
            dollars.append(pair)
    return found | _decimal_map(name, ",".join(dollars), of=names)


def percentages(name: str, default: str) -> list[int]:
    """`50,80,100`: whole numbers from 1 to 100, in ascending order."""
    texts = [part.strip() for part in env.str(name, default=default).split(",") if part.strip()]
    if not all(text.isascii() and text.isdigit() and 0 < int(text) <= 100 for text in texts):
        return _invalid(f"{name} must be numbers from 1 to 100, not {texts}.", instead=[])
    return sorted({int(text) for text in texts})


def pem(name: str) -> str:
    """A PEM key, as it is or as base64 in one line; empty if not set."""
    text = env.str(name, default="").strip()
    if not text or text.startswith("-----BEGIN"):
        return str(text).replace("\\n", "\n")
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return _invalid(f"{name} must be a PEM, or a PEM in base64.", instead="")


def signing_identity(certificates: str, private_key: str) -> SigningIdentity | None:
    """A chain of PEM certificates and the private key of its first, by two variables. None if
    neither is set."""
    chain, key = pem(certificates), pem(private_key)
    if not chain and not key:
        return None
    if not (chain and key):
        missing, other = (private_key, certificates) if chain else (certificates, private_key)
        return _invalid(f"{missing} is missing, and {other} is set.", instead=None)
    try:
        return identities.parse(chain, key)
    except ValueError as error:
        return _invalid(f"{certificates}, {private_key}: {error}.", instead=None)


def choices(name: str, allowed: tuple[str, ...]) -> list[str]:
    """Some of `allowed`, comma-separated, in its order; all if not set."""
    chosen = env.list(name, default=list(allowed))
    if not chosen or not set(chosen) <= set(allowed):
        add_problem(f"{name} must be some of {', '.join(allowed)}, not {chosen}.")
    return [one for one in allowed if one in chosen]


def uuids(name: str) -> frozenset[UUID]:
    """UUIDs, comma-separated; none if not set."""
    texts = [part.strip() for part in env.str(name, default="").split(",") if part.strip()]
    try:
        return frozenset(UUID(text) for text in texts)
    except ValueError:
        return _invalid(f"{name} must be UUIDs, separated by commas.", instead=frozenset())


def choices_or_off(name: str, allowed: tuple[str, ...]) -> list[str]:
    """Some of `allowed`, comma-separated, in the given order; none if `off` or not set."""
    chosen = [part.strip() for part in env.list(name, default=["off"])]
    if chosen == ["off"]:
        return []
    if not chosen or not set(chosen) <= set(allowed) or len(set(chosen)) < len(chosen):
        options = ", ".join(allowed)
        return _invalid(f"{name} must be off, or some of {options}, not {chosen}.", instead=[])
    return chosen


def choice(name: str, default: str, *, allowed: tuple[str, ...]) -> str:
    """One of `allowed`."""
    chosen = str(env.str(name, default=default)).strip()
    if chosen not in allowed:
        problem = f"{name} must be one of {', '.join(allowed)}, not {chosen!r}."
        return _invalid(problem, instead=default)
    return chosen


def signing_keys(name: str) -> dict[str, str]:
    """`kid:secret,kid:secret`: the first signs, all verify."""
    keys: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in env.str(name, default="").split(","))):
        kid, colon, secret = pair.partition(":")
        if not (colon and kid and len(secret) >= 32):
            problem = f"{name} must be kid:secret pairs, each secret of at least 32 characters."
            return _invalid(problem, instead={})
        keys[kid] = secret
    return keys


def secrets(name: str) -> list[str]:
    """Secrets, comma-separated, each of at least 32 characters."""
    found = [part.strip() for part in env.str(name, default="").split(",") if part.strip()]
    if any(len(secret) < 32 for secret in found):
        problem = f"{name}: each secret must have at least 32 characters."
        return _invalid(problem, instead=[])
    return found


def service_url(name: str, real: str, *, sandbox: str) -> str:
    """The address of a service: `real` in production, else a path of the sandbox."""
    return http_url(name, real if PRODUCTION else f"{SANDBOX_URL}/{sandbox}")


def database_address(name: str, default: str) -> dict[str, str]:
    """PostgreSQL's address, as libpq parameters."""
    try:
        return database_url.parse(env.str(name, default=default))
    except ValueError as error:
        return _invalid(f"{name} {error}", instead=database_url.parse(default))


def redis_address(name: str, default: str) -> redis_url.RedisAddress:
    """Redis's address, for each of its clients."""
    for other in redis_url.CELERYS_OWN:
        if other in env.ENVIRON:
            add_problem(f"{other} is set, but Celery uses only {name}.")
    try:
        return redis_url.parse(env.str(name, default=default))
    except ValueError as error:
        return _invalid(f"{name} {error}", instead=redis_url.parse(default))


def tcp_address(name: str) -> tuple[str, int] | None:
    """`tcp://host:port` as (host, port); None if not set."""
    text = env.str(name, default="").strip()
    if not text:
        return None
    try:
        parts = urlsplit(text)
        rest = parts.path.strip("/") or parts.query or parts.username or parts.password
        if parts.scheme == "tcp" and parts.hostname and parts.port and not rest:
            return parts.hostname, parts.port
    except ValueError:
        pass
    return _invalid(f"{name} must be tcp://host:port, not {text!r}.", instead=None)


def listen_address(name: str, default: str) -> str:
    """A name, or an IPv4 or IPv6 address (with or without brackets), to listen on."""
    return addresses.listen_address(name, env.str(name, default=default), problems)


def host_names(name: str, *, default: list[str]) -> list[str]:
    """Host names and addresses as in a Host header, without port, comma-separated.

    IPv6 with or without brackets. `*` is any name, `.example.com` the whole domain.
    """
    named = []
    for host in (part.strip() for part in env.list(name, default=default)):
        bare = host.removeprefix("[").removesuffix("]")
        try:
            named.append(addresses.in_url(str(ip_address(bare))))
        except ValueError:
            if not re.fullmatch(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", host):
                add_problem(f"{name} must be host names without scheme and port, not {host!r}.")
            named.append(host.lower())
    return named


def origins(name: str) -> list[str]:
    """`https://app.example.com`, comma-separated: scheme and host without a path."""
    found = [part.strip() for part in env.list(name, default=[]) if part.strip()]
    for origin in found:
        if not (_is_http(origin) and origin.count("/") == 2):
            add_problem(f"{name} must be like https://app.example.com, not {origin!r}.")
    return found


def http_url(name: str, default: str) -> str:
    """An http or https address without a trailing slash; empty if that is the default."""
    text = str(env.str(name, default=default)).strip()
    if text and not _is_http(text):
        # The value is not quoted: such URLs contain keys.
        return _invalid(f"{name} must be an http or https address.", instead=default)
    return text.rstrip("/")


def _is_http(text: str) -> bool:
    try:
        parts = urlsplit(text)
        # Reading the port validates it.
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


SANDBOX_URL = http_url("SANDBOX_URL", "" if PRODUCTION else "http://127.0.0.1:9000")


def email_settings(name: str) -> dict[str, Any]:
    """Django's EMAIL_* settings from `smtp+tls://user:password@host:587`; mail goes to the console
    if not set."""
    console = {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    text = env.str(name, default="")
    if not text:
        return console
    try:
        if urlsplit(text).query:
            return _invalid(
                f"{name} has parameters, which are not supported. Use smtp+tls:// or smtp+ssl://"
                " to send mail by TLS.",
                instead=console,
            )
        return dict(env.email_url(name))
    except (ImproperlyConfigured, ValueError):
        # The value is not quoted: it has a password.
        return _invalid(f"{name} must be like smtp+tls://user:password@host:587.", instead=console)


def decimal(name: str, default: str) -> Decimal:
    """A number that is not negative, kept exactly as written."""
    text = env.str(name, default=default).strip()
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and value >= 0):
        problem = f"{name} must be a number from 0 on, not {text!r}."
        return _invalid(problem, instead=Decimal(default))
    return value


def standard_webhook_secrets(name: str) -> list[str]:
    """`whsec_…` secrets, comma-separated; in development, by default, the sandbox's."""
    found = [part.strip() for part in env.str(name, default="").split(",") if part.strip()]
    for secret in found:
        try:
            base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            add_problem(f"{name} must be whsec_ and a secret in base64.")
    return found or ([] if PRODUCTION else [SANDBOX_WEBHOOK_SECRET])


def model_names(name: str, *, at_most: int) -> list[str]:
    """`vendor/model,vendor/model`: names of language models, first choice first; none if not
    set."""
    found = [part.strip() for part in env.str(name, default="").split(",") if part.strip()]
    if len(found) > at_most or not all(
        re.fullmatch(r"[\w.~-]+/[\w.:-]+", model, re.ASCII) for model in found
    ):
        problem = f"{name} must be at most {at_most} names like vendor/model, not {found}."
        return _invalid(problem, instead=[])
    return found


def name_map(name: str) -> dict[str, str]:
    """`wan-2.2:4bg7x1k2,other:9f2h`: ids by names of our own."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in env.str(name, default="").split(","))):
        ours, _, theirs = pair.partition(":")
        if not (_NAME.fullmatch(ours) and _NAME.fullmatch(theirs)):
            add_problem(f"{name} must be name:id pairs, not {pair!r}.")
        elif ours in found:
            add_problem(f"{name} has the name {ours} twice.")
        else:
            found[ours] = theirs
    return found


def key_ring(prefix: str, *, sandbox: str, has_pairs: bool = False) -> KeyRing:
    """`{prefix}_KEY`, `{prefix}_KEYS` (label:key,label:key) and `{prefix}_KEYS_FILE` together.

    None of them set: no key in production, else the sandbox's. `has_pairs`: each key is id:secret.
    """
    single = env.str(f"{prefix}_KEY", default="").strip()
    several = env.str(f"{prefix}_KEYS", default="")
    file = env.str(f"{prefix}_KEYS_FILE", default="").strip()
    if not (single or several or file or PRODUCTION):
        single = sandbox
    try:
        keys = ({DEFAULT_LABEL: single} if single else {}) | parse(several)
    except ValueError as error:
        add_problem(f"{prefix}_KEYS {error}")
        keys = {}
    for label, key in keys.items() if has_pairs else ():
        if not all(key.partition(":")):
            name = f"{prefix}_KEY" if (label, key) == (DEFAULT_LABEL, single) else f"{prefix}_KEYS"
            add_problem(f"{name}: the key {label} is not id:secret.")
    try:
        return KeyRing(keys, file=Path(file) if file else None)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return _invalid(f"{prefix}_KEYS_FILE: {why}", instead=KeyRing(keys))
