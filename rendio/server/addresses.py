"""Where the web processes listen."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address


def bind(environment: Mapping[str, str]) -> str:
    """gunicorn's `bind` of ADDRESS (a name, or an IPv4 or IPv6 address) and PORT.

    Raises SystemExit that names the variable which cannot be used.
    """
    address = (environment.get("ADDRESS") or "0.0.0.0").strip()  # noqa: S104
    bare = address.removeprefix("[").removesuffix("]")
    port = (environment.get("PORT") or "8000").strip()
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SystemExit(f"PORT must be a number from 1 to 65535, not {port!r}.")
    if ":" in bare:
        try:
            return f"[{ip_address(bare)}]:{port}"
        except ValueError:
            raise SystemExit(
                f"ADDRESS must be an address or a name, without a port, not {address!r}."
            ) from None
    return f"{bare}:{port}"
