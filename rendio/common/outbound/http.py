"""The HTTP client for other services: pooled, with limits on everything.

After a call the caller must know whether the request may have had an effect. So a failure is one of
two: `NotSent` (nothing was sent; repeating is safe) or `NoAnswer` (the service may have acted;
repeating may do it twice). Nothing is retried here, `request` follows no redirect, and no proxy is
taken from the environment.
"""

from __future__ import annotations

import ipaddress
import json as json_format
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import certifi
from django.conf import settings
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
)
from urllib3.util import create_urllib3_context, make_headers, parse_url

from rendio.common.observability import metrics, request_id, tracing

CHUNK_BYTES = 64 * 1024
# RFC 9110, 15.4: redirects that a GET follows.
REDIRECTS = {301, 302, 303, 307, 308}
MOST_REDIRECTS = 5
_HEADERS = {"User-Agent": "Rendio", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NotSent(Exception):
    """No connection was made: the other side has seen nothing."""


class NoAnswer(Exception):
    """The request may have arrived, but no complete response came back."""


class Refused(Exception):
    """No request was made: the address, scheme or host is not allowed."""


class TooLarge(Exception):
    """The response is larger than allowed and was discarded."""


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def redirect(self) -> str:
        """The Location of a redirect, possibly relative; "" for any other response."""
        return self.headers.get("Location", "") if self.status in REDIRECTS else ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON, or None if it is not JSON."""
        try:
            return json_format.loads(self.body)
        except (ValueError, RecursionError):
            return None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    data: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    timeout: tuple[float, float] | None = None,
    total_seconds: float | None = None,
    max_bytes: int = 1_000_000,
) -> Response:
    """One request to a configured service, once.

    `timeout` is (connect, read) in seconds; the whole response must also arrive within
    `total_seconds`, by default connect + 2 x read, since single bytes pass every read timeout.
    Raises NotSent, NoAnswer (also for a response beyond `max_bytes`).
    """
    timeout = timeout or (
        settings.PROVIDER_CONNECT_TIMEOUT_SECONDS,
        settings.PROVIDER_READ_TIMEOUT_SECONDS,
    )
    sent_headers = dict(headers or {})
    if current := request_id.current():
        sent_headers.setdefault("X-Request-ID", current)
    body = None
    if json is not None:
        body = json_format.dumps(json, allow_nan=False).encode()
        sent_headers["Content-Type"] = "application/json"
    elif data is not None:
        body = urlencode(data).encode()
        sent_headers["Content-Type"] = "application/x-www-form-urlencoded"
    if params:
        url = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"
    with measured(method, url) as call:
        answer = _send(
            method,
            url,
            headers=sent_headers,
            body=body,
            timeout=timeout,
            total_seconds=total_seconds or timeout[0] + 2 * timeout[1],
            max_bytes=max_bytes,
        )
        call.outcome = str(answer.status)
        return answer


@dataclass
class _Call:
    outcome: str = "broken"


@contextmanager
def measured(method: str, url: str) -> Iterator[_Call]:
    """Metrics and a trace for an outbound call: by host, never by path."""
    call, began = _Call(), time.monotonic()
    host = urlsplit(url).hostname or ""
    told: tracing.Attributes = {"http.request.method": method, "server.address": host}
    try:
        with tracing.span(f"{method} {host}", "CLIENT", told):
            yield call
    except (NotSent, NoAnswer) as error:
        call.outcome = "not_sent" if isinstance(error, NotSent) else "no_answer"
        raise
    finally:
        took = time.monotonic() - began
        metrics.outbound_seconds.labels(host, method, call.outcome).observe(took)


def _send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout: tuple[float, float],
    total_seconds: float,
    max_bytes: int,
) -> Response:
    deadline = time.monotonic() + total_seconds
    try:
        with _opened(method, url, headers=headers, body=body, timeout=timeout) as response:
            received = b"".join(_chunks(response, deadline=deadline, max_bytes=max_bytes))
            return Response(response.status, received, response.headers)
    except TooLarge as error:
        raise NoAnswer(f"more than {max_bytes} bytes") from error
    except LocationParseError as error:
        raise NoAnswer(type(error).__name__) from error


@contextmanager
def _opened(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout: tuple[float, float],
    guarded: bool = False,
) -> Iterator[BaseHTTPResponse]:
    """The response to one request, its body not yet read. Raises NotSent, NoAnswer, within the
    block too, and LocationParseError for a name that can be none, such as one of 70 letters."""
    try:
        auth = parse_url(url).auth
        basic = make_headers(basic_auth=unquote(auth)) if auth else {}
        response = _pools(guarded=guarded).urlopen(
            method,
            url,
            headers={**_HEADERS, **headers, **basic},
            body=body,
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            redirect=False,
            retries=False,
            preload_content=False,
        )
        try:
            yield response
        finally:
            # A connection with an unread rest is closed, any other is free already.
            response.close()
            response.release_conn()
    except LocationParseError:
        raise
    except HTTPError as error:
        never_left = isinstance(error, NewConnectionError | ConnectTimeoutError)
        # The class only. The text may hold the URL, and that a webhook token.
        raise (NotSent if never_left else NoAnswer)(type(error).__name__) from error


def download(
    url: str,
    into: BinaryIO,
    *,
    allowed_hosts: list[str] | None,
    max_bytes: int,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = 300,
) -> Response:
    """Stream a file from an address that another party named into `into`; the response's body stays
    empty.

    The host must be on the list (None: any), and must resolve to public addresses at connection
    time (unless settings.ALLOW_PRIVATE_ADDRESSES): a check before connecting could be bypassed by a
    second DNS answer. Up to MOST_REDIRECTS redirects are followed, each checked likewise, within
    `timeout_seconds` in all. `headers` may hold a key: they are sent to the origin of `url` alone.

    Raises Refused, NotSent, NoAnswer, TooLarge.
    """
    deadline = time.monotonic() + timeout_seconds
    headers = headers or {}
    for _ in range(MOST_REDIRECTS + 1):
        answer = _download(
            url,
            into,
            allowed_hosts=allowed_hosts,
            max_bytes=max_bytes,
            headers=headers,
            deadline=deadline,
        )
        if not answer.redirect:
            return answer
        target = redirected(url, answer)
        if _origin(target) != _origin(url):
            headers = {}
        url = target
    raise Refused("too many redirects")


def _download(
    url: str,
    into: BinaryIO,
    *,
    allowed_hosts: list[str] | None,
    max_bytes: int,
    headers: Mapping[str, str],
    deadline: float,
) -> Response:
    local = settings.ALLOW_PRIVATE_ADDRESSES
    url = _normalized(url)
    _check_target(url, allowed_hosts=allowed_hosts, local=local)
    left = deadline - time.monotonic()
    if left <= 0:
        raise NoAnswer("the answer took too long")
    timeout = settings.PROVIDER_CONNECT_TIMEOUT_SECONDS, min(30, left)
    try:
        with _opened("GET", url, headers=headers, timeout=timeout, guarded=not local) as response:
            answer = Response(response.status, b"", response.headers)
            if not answer.redirect:  # the body of one is not the file
                for chunk in _chunks(response, deadline=deadline, max_bytes=max_bytes):
                    into.write(chunk)
            return answer
    except LocationParseError as error:
        raise Refused("address") from error


def redirected(url: str, answer: Response) -> str:
    """The absolute target of a redirect, without `..`; not yet checked. Raises Refused for an
    invalid address."""
    try:
        return str(parse_url(urljoin(url, answer.redirect)))
    except (LocationParseError, ValueError) as error:
        raise Refused("address") from error


def _origin(url: str) -> tuple[str | None, str | None, int | None]:
    parts = parse_url(url)
    return parts.scheme, parts.host, parts.port


def check_url(url: str) -> None:
    """Raise Refused for an address that `download` would refuse without a request."""
    local = settings.ALLOW_PRIVATE_ADDRESSES
    _check_target(_normalized(url), allowed_hosts=None, local=local)


def _normalized(url: str) -> str:
    """The URL as it will be sent. Raises Refused for an invalid one."""
    if not url.isprintable():
        raise Refused("address")
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise Refused("address") from error
    if not parts.host:
        raise Refused("address")
    return str(parts)


def _check_target(url: str, *, allowed_hosts: list[str] | None, local: bool) -> None:
    """Raises Refused.

    The URL is parsed as the connection parses it: for urllib.parse the host of
    https://evil.example\\.fal.media/ ends in .fal.media, for urllib3 it is evil.example.
    """
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise Refused("address") from error
    if parts.scheme not in ({"https", "http"} if local else {"https"}):
        raise Refused("scheme")
    if parts.auth is not None:
        raise Refused("credentials")
    if not local and parts.port not in (None, 443):
        raise Refused("port")
    host = parts.host or ""
    if allowed_hosts is not None and not any(_matches(host, allowed) for allowed in allowed_hosts):
        raise Refused("host")


def _matches(host: str, allowed: str) -> bool:
    if allowed.startswith("*."):
        return host.endswith(allowed[1:])
    return host == allowed


def _chunks(response: BaseHTTPResponse, *, deadline: float, max_bytes: int) -> Iterator[bytes]:
    received = 0
    # The bytes that have arrived: waiting for a full chunk, a drip of single bytes would never
    # reach the deadline check.
    while chunk := response.read1(CHUNK_BYTES, decode_content=True):
        received += len(chunk)
        if received > max_bytes:
            raise TooLarge
        if time.monotonic() > deadline:
            raise NoAnswer("the answer took too long")
        yield chunk
    # A body cut short raises nothing in urllib3 when the length was announced.
    announced = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding")
    if announced.isdigit() and not encoded and received < int(announced):
        raise NoAnswer("the answer was cut short")


def _connect_to_public(connection: Any) -> socket.socket:
    """Connect only if every address of the name is public."""
    try:
        found = socket.getaddrinfo(connection._dns_host, connection.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NewConnectionError(connection, "name not resolved") from error
    if not found or not all(_is_public(str(item[4][0])) for item in found):
        raise Refused("address")
    failed: OSError | None = None
    for *_, address in found:
        try:
            return socket.create_connection((str(address[0]), int(address[1])), connection.timeout)
        except OSError as error:
            failed = error
    raise NewConnectionError(connection, "no connection") from failed


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        # An address that embeds an IPv4 address (mapped, 6to4, NAT64) leads there.
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        parsed = inner or parsed
    return parsed.is_global and not parsed.is_multicast


class _GuardedHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect_to_public(self)


class _GuardedHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect_to_public(self)


class _GuardedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTP


class _GuardedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPS


@cache
def _pools(*, guarded: bool = False) -> PoolManager:
    """The connections of the process, thread-safe. No cookies are kept, and no proxy is taken from
    the environment."""
    context = create_urllib3_context()
    context.load_verify_locations(certifi.where())
    # The context is made once: to read the certificates takes as long as many requests.
    pools = PoolManager(num_pools=16, maxsize=64, ssl_context=context)
    if guarded:
        pools.pool_classes_by_scheme = {"http": _GuardedHTTPPool, "https": _GuardedHTTPSPool}
    return pools
