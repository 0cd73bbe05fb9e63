"""Public keys that an issuer publishes as a JSON Web Key Set (RFC 7517), kept in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import structlog

from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

K = TypeVar("K")


class KeySet(Generic[K]):
    """The keys of one issuer. A key that fits is used without a lock and without a request.

    The set is fetched again once it is older than `fresh_seconds`, and when no key fits: a token
    may name any key, so that an unknown one costs at most one fetch in `pause_seconds`, for all
    threads together. After a failed fetch the next one waits `retry_seconds`, or
    `empty_retry_seconds` while there is no key at all. A set that cannot be fetched again is used
    until it is `usable_seconds` old.
    """

    def __init__(
        self,
        name: str,
        *,
        url: Callable[[], str],
        parse: Callable[[dict[str, Any]], K | None],
        timeout: tuple[float, float],
        fresh_seconds: float,
        usable_seconds: float,
        pause_seconds: float,
        retry_seconds: float,
        empty_retry_seconds: float,
    ) -> None:
        self._name, self._url, self._parse, self._timeout = name, url, parse, timeout
        self._fresh_seconds, self._usable_seconds = fresh_seconds, usable_seconds
        self._pause_seconds, self._retry_seconds = pause_seconds, retry_seconds
        self._empty_retry_seconds = empty_retry_seconds
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """The state of a process that has just started."""
        self._keys: list[K] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._has_failed = False

    def find(self, fits: Callable[[K], bool]) -> K | None:
        """The first key that fits; None where the issuer has no such key.

        Raises http.NoAnswer where that cannot be told, as the set could not be fetched.
        """
        asked_at = time.monotonic()
        key = self._first(fits)
        if not self._is_settled(key, asked_at):
            with self._lock:
                # A thread that waited here uses the keys that the thread before it has fetched.
                key = self._first(fits)
                if self._tried_at < asked_at and not self._is_settled(key, time.monotonic()):
                    self._fetch()
            key = self._first(fits)
        if key is not None and time.monotonic() - self._fetched_at < self._usable_seconds:
            return key
        if self._has_failed:
            raise http.NoAnswer(f"{self._name} keys")
        return None

    def _first(self, fits: Callable[[K], bool]) -> K | None:
        return next((key for key in self._keys if fits(key)), None)

    def _is_settled(self, key: K | None, now: float) -> bool:
        """Whether a fetch is not needed, or not allowed yet."""
        if key is not None and now - self._fetched_at < self._fresh_seconds:
            return True
        pause = self._pause_seconds
        if self._has_failed:
            pause = self._retry_seconds if self._keys else self._empty_retry_seconds
        return now - self._tried_at < pause

    def _fetch(self) -> None:
        self._has_failed = True
        try:
            answer = http.request("GET", self._url(), timeout=self._timeout)
            keys = self._parse_all(answer.json()) if answer.ok else []
            if keys:
                self._keys, self._fetched_at, self._has_failed = keys, time.monotonic(), False
            else:
                logger.warning("key_set_unreadable", issuer=self._name, status=answer.status)
        except (http.NotSent, http.NoAnswer) as error:
            logger.warning("key_set_unreachable", issuer=self._name, error=str(error))
        finally:
            self._tried_at = time.monotonic()

    def _parse_all(self, body: Any) -> list[K]:
        listed = body.get("keys") if isinstance(body, dict) else None
        jwks: Iterable[Any] = listed if isinstance(listed, list) else []
        parsed = [self._parse(jwk) for jwk in jwks if isinstance(jwk, dict)]
        return [key for key in parsed if key is not None]
