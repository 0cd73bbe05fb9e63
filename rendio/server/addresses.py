"""Where our processes listen: a name, or an IPv4 or IPv6 address, and a port."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")  # noqa: S104


def bind(environment: Mapping[str, str]) -> str:
    """gunicorn's `bind` of ADDRESS and PORT.

    Raises SystemExit that names each variable which cannot be used.
    """
    problems: list[str] = []
    host = listen_address("ADDRESS", environment.get("ADDRESS") or ANY[0], problems)
    port = (environment.get("PORT") or "8000").strip()
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        problems.append(f"PORT must be a number from 1 to 65535, not {port!r}.")
    if problems:
        raise SystemExit("\n".join(problems))
    return f"{in_url(host)}:{port}"


def url(environment: Mapping[str, str]) -> str:
    """Where this machine reaches what `bind` listens on. Raises SystemExit as `bind` does."""
    host, _, port = bind(environment).rpartition(":")
    is_any = host.strip("[]") in ANY
    return f"http://{LOOPBACK if is_any else host}:{port}"


def listen_address(name: str, value: str, problems: list[str]) -> str:
    """An address without brackets, or a name, from the variable `name`.

    Adds to `problems` what it cannot be, such as an address with a port.
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
