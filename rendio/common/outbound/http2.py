"""POST over HTTP/2, for services that require it (APNs), on connections kept per process.

The guarantees are those of the http module beside this one: no retry, no redirect, no proxy from
the environment, and a failure is NotSent or NoAnswer.

A connection carries one request at a time: httpcore 1.0.9 gives two threads that start at the same
moment the same stream, so that one of them gets the other's response. Concurrent requests use a
connection each.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import httpx

from rendio.common.outbound.http import NoAnswer, NotSent, Response, measured

# A connection that is idle for longer may have been dropped on the way.
KEPT_SECONDS = 60.0
MAX_BYTES = 64 * 1024
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL)


def post(
    url: str, *, headers: Mapping[str, str], body: bytes, timeout: tuple[float, float]
) -> Response:
    """One POST, once; http:// is HTTP/2 too, as agreed beforehand.

    `timeout` is (connect, read) in seconds; the whole answer must also be here within connect + 2 x
    read. Raises NotSent, NoAnswer (also for an answer beyond MAX_BYTES).
    """
    with measured("POST", url) as call:
        try:
            with _connection() as client:
                answer = _send(client, url, headers=headers, body=body, timeout=timeout)
        except _NEVER_LEFT as error:
            raise NotSent(type(error).__name__) from error
        except httpx.HTTPError as error:
            # The class only: the text may hold the URL.
            raise NoAnswer(type(error).__name__) from error
        call.outcome = str(answer.status)
        return answer


def _send(
    client: httpx.Client,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    timeout: tuple[float, float],
) -> Response:
    connect, read = timeout
    deadline = time.monotonic() + connect + 2 * read
    limits = httpx.Timeout(read, connect=connect)
    with client.stream(
        "POST", url, headers=dict(headers), content=body, timeout=limits
    ) as response:
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_BYTES or time.monotonic() > deadline:
                raise NoAnswer("too large, or too slow")
        return Response(response.status_code, content, response.headers)


def close_connections() -> None:
    """Close the idle connections; the next requests open new ones."""
    idle = _idle(os.getpid())
    while idle:
        idle.pop().close()


@contextmanager
def _connection() -> Iterator[httpx.Client]:
    """A connection for this call alone, kept for the next if no error occurs."""
    idle = _idle(os.getpid())
    try:
        client = idle.pop()
    except IndexError:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=KEPT_SECONDS)
        client = httpx.Client(http1=False, http2=True, trust_env=False, limits=limits)
    try:
        yield client
    except BaseException:
        client.close()
        raise
    idle.append(client)


@cache
def _idle(pid: int) -> deque[httpx.Client]:
    """Idle connections of this process, last used first: a connection does not survive a fork."""
    return deque()
