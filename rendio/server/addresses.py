"""Listen addresses of our processes: a name, or an IPv4 or IPv6 address, and a port."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")  # noqa: S104


def bind(environment: Mapping[str, str]) -> str:
    """gunicorn's `bind` from ADDRESS and PORT.

    Raises SystemExit that names each invalid variable.
    """
    return bind_and_processes({**environment, "WEB_CONCURRENCY": ""})[0]


def bind_and_processes(environment: Mapping[str, str]) -> tuple[str, int]:
    """gunicorn's `bind` and `workers`, from ADDRESS, PORT and WEB_CONCURRENCY. Raises as `bind`."""
    problems: list[str] = []
    host = listen_address("ADDRESS", environment.get("ADDRESS") or ANY[0], problems)
    port = whole_number("PORT", environment.get("PORT") or "8000", problems, at_most=65535)
    processes = whole_number("WEB_CONCURRENCY", environment.get("WEB_CONCURRENCY") or "2", problems)
    if problems:
        raise SystemExit("\n".join(problems))
    return f"{in_url(host)}:{port}", processes


def events_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Where the events process listens, from ADDRESS and EVENTS_PORT. Raises as `bind`."""
    problems: list[str] = []
    host = listen_address("ADDRESS", environment.get("ADDRESS") or ANY[0], problems)
    port = whole_number(
        "EVENTS_PORT", environment.get("EVENTS_PORT") or "8001", problems, at_most=65535
    )
    if problems:
        raise SystemExit("\n".join(problems))
    return host, port


def whole_number(name: str, value: str, problems: list[str], *, at_most: int = 1000) -> int:
    """The variable `name` as a number from 1; an invalid value is added to `problems`."""
    text = value.strip()
    if text.isascii() and text.isdigit() and 0 < int(text) <= at_most:
        return int(text)
    problems.append(f"{name} must be a number from 1 to {at_most}, not {text!r}.")
    return 1


def url(environment: Mapping[str, str]) -> str:
    """The URL at which this machine reaches the address of `bind`. Raises SystemExit as `bind`
    does."""
    host, _, port = bind(environment).rpartition(":")
    is_any = host.strip("[]") in ANY
    return f"http://{LOOPBACK if is_any else host}:{port}"


def listen_address(name: str, value: str, problems: list[str]) -> str:
    """An address without brackets, or a name, from the variable `name`.

    An invalid value, such as an address with a port, is added to `problems`.
    """
    text = value.strip()
    bare = text.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            return str(ip_address(bare))
        except ValueError:
            problems.append(f"{name} must be an address or a name, without a port, not {text!r}.")
    return bare


def in_url(host: str) -> str:
    """The host as URLs have it: IPv6 addresses in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host
