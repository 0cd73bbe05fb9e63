"""The caller's address from the headers of our own proxies: X-Forwarded-For, or Forwarded (RFC
7239).

Each proxy appends one element, so elements count from the right. Elements to the left of those of
our TRUSTED_PROXIES were sent by the caller, and are ignored.

An element may have a port: `198.51.100.7:40001` and `[2001:db8::1]:443` (RFC 7239, 6). Azure's
Application Gateway also writes X-Forwarded-For this way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

logger = structlog.get_logger(__name__)

X_FORWARDED_FOR: str = "X-Forwarded-For"
FORWARDED: str = "Forwarded"
HEADERS: tuple[str, ...] = (X_FORWARDED_FOR, FORWARDED)

# Only callers send more; our own proxies' elements are short.
_LONGEST = 4_096
# A token of RFC 9110, and characters that proxies leave unquoted in spite of RFC 7239, 4.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z\-\[\]:]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PAIR = rf"({_WORD})=({_WORD}|{_QUOTED})"
_ELEMENT = re.compile(rf"[ \t]*{_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*[ \t]*;?[ \t]*")


@dataclass(frozen=True)
class Hop:
    """One proxy's record of its client; empty fields if nothing was recorded."""

    address: str = ""
    scheme: str = ""


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address with or without brackets and port; None for anything else."""
    text = text.strip()
    without_port, _, port = text.rpartition(":")
    candidates = [text, *([without_port] if port.isascii() and port.isdigit() else [])]
    for candidate in candidates:
        try:
            return ip_address(candidate.removeprefix("[").removesuffix("]"))
        except ValueError:
            continue
    return None


def outermost_hop(request: HttpRequest) -> Hop | None:
    """The record of our outermost proxy; None without proxies, and for a call that did not pass all
    of them."""
    proxies = settings.TRUSTED_PROXIES
    if not proxies:
        return None
    header = request.headers.get(settings.FORWARDED_HEADER, "")
    if settings.FORWARDED_HEADER == FORWARDED:
        hops = _forwarded(header, proxies)
    else:
        parts = [part.strip() for part in header.split(",")]
        hops = [Hop(address=part) for part in reversed(parts) if part]
    if len(hops) < proxies:
        if header:
            _warn_once(f"{settings.FORWARDED_HEADER} has fewer elements than TRUSTED_PROXIES")
        return None
    hop = hops[proxies - 1]
    if read_address(hop.address) is None:
        _warn_once(f"{settings.FORWARDED_HEADER} names no address")
    return hop


def _forwarded(header: str, count: int) -> list[Hop]:
    """Up to `count` elements of a Forwarded header, last first.

    Parsed from the right, each element as short as possible: an opening quote of the caller must
    not swallow the element that our proxy appends.
    """
    text = header[-_LONGEST:]
    hops: list[Hop] = []
    end = len(text)
    while len(hops) < count and end >= 0:
        start = text.rfind(",", 0, end)
        while not (element := _ELEMENT.fullmatch(text, start + 1, end)):
            if start < 0:
                return hops
            start = text.rfind(",", 0, start)
        hops.append(_hop(element[0]))
        end = start
    return hops


def _hop(element: str) -> Hop:
    values: dict[str, str] = {}
    for name, value in re.findall(_PAIR, element):
        bare = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        values.setdefault(name.lower(), bare)
    return Hop(values.get("for", ""), values.get("proto", "").lower())


@cache
def _warn_once(problem: str) -> None:
    """Warn once: all such callers share the limits of one address."""
    logger.warning("callers_address_unknown", problem=problem)


class ForwardedMiddleware:
    """Take the scheme from the Forwarded header, if our proxies send that header, and pass it on in
    the header that Django reads (settings.SECURE_PROXY_SSL_HEADER)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        hop = outermost_hop(request)
        request.META["HTTP_X_FORWARDED_PROTO"] = hop.scheme if hop else ""
        return self.get_response(request)
