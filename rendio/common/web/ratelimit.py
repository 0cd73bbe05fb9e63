"""Rate limits: fixed windows counted in Redis, all limits of a request in one round trip.

django-ratelimit protects the staff login; here it would take two round trips a limit, and answer
500 while Redis is unavailable (docs/decisions/0003-rate-limits.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from ipaddress import IPv6Address
from typing import Any

import redis
from django.conf import settings
from django.http import HttpRequest

from rendio.common import integers
from rendio.common.errors import RateLimited
from rendio.common.web import forwarded
from rendio.common.web.redis_counting import CountingConnections

logger = logging.getLogger(__name__)

# Callers without a readable address count together.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Usage:
    """The tightest limit of a request, for the X-RateLimit headers."""

    limit: int
    remaining: int
    resets_at: int  # epoch seconds

    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.resets_at),
        }


class LimiterUnavailable(Exception):
    """Redis did not answer; the caller decides whether the request may pass."""


def count(keys: dict[str, str]) -> Usage | None:
    """Count one request against each limit and return the tightest; None if no limit applies.

    `keys` maps a name in settings.RATE_LIMITS to the counted key, such as {"attest_per_ip": ip}.
    Raises RateLimited, LimiterUnavailable.
    """
    now = int(time.time())
    windows = []
    for name, who in keys.items():
        limit, seconds = settings.RATE_LIMITS[name]
        if limit:
            windows.append((f"limit:{name}:{who}:{now // seconds}", limit, seconds))
    if not windows:
        return None
    counts = _redis().count([(key, seconds) for key, _limit, seconds in windows])
    usages = [
        (used, Usage(limit, max(limit - used, 0), (now // seconds + 1) * seconds))
        for used, (_key, limit, seconds) in zip(counts, windows, strict=True)
    ]
    exceeded = [usage for used, usage in usages if used > usage.limit]
    if exceeded:
        raise _refusal(max(exceeded, key=lambda usage: usage.resets_at), now=now)
    return min((usage for _used, usage in usages), key=lambda usage: usage.remaining)


def _refusal(usage: Usage, *, now: int) -> RateLimited:
    refusal = RateLimited(retry_after=max(usage.resets_at - now, 1))
    refusal.headers |= usage.headers()
    return refusal


def count_refused(name: str, who: str) -> None:
    """Count a refused call against the limit `name`. Does nothing without Redis."""
    with suppress(RateLimited, LimiterUnavailable):
        count({name: who})


def get_count(name: str, who: str) -> int:
    """The count of this window against the limit `name`; 0 if the limit is off. Raises
    LimiterUnavailable."""
    limit, seconds = settings.RATE_LIMITS[name]
    return _redis().read(f"limit:{name}:{who}:{int(time.time()) // seconds}") if limit else 0


def check_limit(name: str, who: str) -> None:
    """Refuse a key that has used up the limit `name`, without counting this call. Raises
    RateLimited, LimiterUnavailable."""
    limit, seconds = settings.RATE_LIMITS[name]
    if limit and get_count(name, who) >= limit:
        now = int(time.time())
        raise _refusal(Usage(limit, 0, (now // seconds + 1) * seconds), now=now)


def check_forgery_limit(request: HttpRequest) -> None:
    """Refuse a webhook from an address that has used up its invalid signatures of this window,
    before verifying: verification is the cost that a forger causes. Raises RateLimited.

    A genuine sender at another address is not affected. One at the same address is, until the
    window ends; providers and Apple retry. Passes everything while Redis is unavailable.
    """
    with suppress(LimiterUnavailable):
        check_limit("forgeries_per_ip", client_ip(request))


def count_forgery(request: HttpRequest) -> None:
    """Count a webhook with an invalid signature, by its address. Raises RateLimited.

    Passes everything while Redis is unavailable.
    """
    with suppress(LimiterUnavailable):
        count({"forgeries_per_ip": client_ip(request)})


def limit_for_tier(name: str, tier: str) -> str:
    """The tier's own limit of this name, if there is one."""
    own = f"{tier}_{name}"
    return own if own in settings.RATE_LIMITS else name


def client_ip(request: HttpRequest) -> str:
    """The caller's address, as our outermost trusted proxy saw it.

    IPv6 callers count by /64, the network of one household.
    """
    hop = forwarded.outermost_hop(request)
    address = hop.address if hop else request.META.get("REMOTE_ADDR", "")
    parsed = forwarded.read_address(address)
    if parsed is None:
        return UNKNOWN
    if isinstance(parsed, IPv6Address):
        # ::ffff:1.2.3.4 is how a dual-stack socket writes an IPv4 caller; all share one /64.
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


COOLDOWN_SECONDS = 1.0


class _Counters(redis.Redis):
    """Not asked again for COOLDOWN_SECONDS after a time-out: each request would wait for a Redis
    that hangs, and hold a thread. A Redis that refuses connections costs no time and is asked each
    time, so that counting resumes at once."""

    cooldown_until = 0.0

    @cached_property
    def _counting(self) -> CountingConnections:
        return CountingConnections(self.connection_pool)

    def count(self, windows: list[tuple[str, int]]) -> list[int]:
        """Increment each key, which expires after its seconds. Raises LimiterUnavailable."""
        counts: list[int] = self._answer_of(lambda: self._counting.increment(windows))
        if min(counts) < 1:
            # Counts start at 1: another program wrote this key.
            logger.warning("rate_limiter_unavailable", extra={"error": "a count below 1"})
            raise LimiterUnavailable
        return counts

    def read(self, key: str) -> int:
        """The count under `key`, or 0. Raises LimiterUnavailable."""
        value = self._answer_of(lambda: self.get(key))
        try:
            count = integers.IntegerSerializer().loads(value or 0)
        except ValueError:
            count = -1
        if count < 0:
            # Another program wrote this key.
            logger.warning("rate_limiter_unavailable", extra={"error": "no count"})
            raise LimiterUnavailable
        return count

    def _answer_of(self, call: Callable[[], Any]) -> Any:
        """Raises LimiterUnavailable."""
        if time.monotonic() < self.cooldown_until:
            raise LimiterUnavailable
        try:
            return call()
        except redis.ResponseError as error:
            # Redis answers, so no cooldown: the key holds something other than a count.
            logger.warning("rate_limiter_unavailable", extra={"error": str(error)})
            raise LimiterUnavailable from error
        except redis.RedisError as error:
            logger.warning("rate_limiter_unavailable", extra={"error": str(error)})
            if isinstance(error, redis.TimeoutError):
                self.cooldown_until = time.monotonic() + COOLDOWN_SECONDS
            raise LimiterUnavailable from error


@cache
def _redis() -> _Counters:
    counters: _Counters = _Counters.from_url(settings.REDIS_URL, **settings.REDIS_CLIENT_OPTIONS)  # type: ignore[assignment]
    return counters
