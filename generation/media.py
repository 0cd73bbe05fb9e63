"""Signed URLs of stored media that expire.

With a bucket, the storage signs its own URLs. Files in the local folder are served here, with byte
ranges, because players seek.
"""

from __future__ import annotations

import hashlib
import hmac
import mimetypes
import re
import time
from datetime import datetime
from json.encoder import encode_basestring_ascii
from typing import BinaryIO, cast

from django.conf import settings
from django.core import signing
from django.core.files.storage import default_storage
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.encoding import force_bytes
from django.utils.http import http_date, parse_http_date_safe

from rendio.common.errors import Forbidden, NotFound

# For us and for django-storages: unknown to Python 3.11.
mimetypes.add_type("image/webp", ".webp")
CHUNK_BYTES = 64 * 1024


class _Signer(signing.Signer):
    """Django's signer. What all signatures have in common is computed once: a list has forty."""

    def __init__(self, *, salt: str) -> None:
        super().__init__(salt=salt)
        self._keyed = {
            key: hmac.new(
                hashlib.sha256(f"{salt}signer".encode() + force_bytes(key)).digest(),
                digestmod="sha256",
            )
            for key in (self.key, *self.fallback_keys)
        }

    def signature(self, value: bytes | str, key: bytes | str | None = None) -> str:
        keyed = self._keyed[key or self.key].copy()
        keyed.update(force_bytes(value))
        return signing.b64_encode(keyed.digest()).decode()

    def sign_name(self, name: str, *, until: int) -> str:
        """`sign_object([name, until])`. `until`: epoch seconds."""
        content = f"[{encode_basestring_ascii(name)},{until}]"
        value = signing.b64_encode(content.encode())
        return f"{value.decode()}{self.sep}{self.signature(value)}"


_signer = _Signer(salt="rendio.media.until")


def signed_url(name: str, *, seconds: int | None = None) -> str | None:
    """Return a URL that is valid for `seconds`, by default MEDIA_URL_TTL_SECONDS. None for an empty
    name."""
    if not name:
        return None
    seconds = settings.MEDIA_URL_TTL_SECONDS if seconds is None else seconds
    if settings.MEDIA_BUCKET:
        # An argument of Bucket that Django's base class does not have.
        return default_storage.url(name, expire=seconds)  # type: ignore[call-arg]
    return _local_prefix() + _signer.sign_name(name, until=int(time.time()) + seconds)


def name_from_url(url: str) -> str | None:
    """Return the stored name of one of our URLs, even if the URL has expired. None for other
    URLs.
    """
    if settings.MEDIA_BUCKET:
        address = url.partition("?")[0]
        prefix = default_storage.url("-").partition("?")[0].removesuffix("-")
        return address.removeprefix(prefix) if address.startswith(prefix) else None
    if not url.startswith(_local_prefix()):
        return None
    try:
        name, _ = _signer.unsign_object(url.removeprefix(_local_prefix()))
    except signing.BadSignature:
        return None
    return str(name)


def _local_prefix() -> str:
    return f"{settings.PUBLIC_URL}/media/"


def serve(request: HttpRequest, token: str) -> HttpResponseBase:
    """Serve GET and HEAD of a signed URL, with preconditions and single byte ranges (RFC 9110, 13,
    14).

    Several ranges in one request are answered with the whole file, as 14.2 permits.
    """
    try:
        name, until = _signer.unsign_object(token)
    except signing.BadSignature:
        raise Forbidden from None
    remaining_seconds = until - int(time.time())
    if remaining_seconds <= 0:
        raise Forbidden
    try:
        size = default_storage.size(name)
        modified = default_storage.get_modified_time(name)
        content = cast("BinaryIO", default_storage.open(name))
    except FileNotFoundError:
        raise NotFound from None
    etag, modified_at = _etag(name, size, modified), int(modified.timestamp())
    response: HttpResponseBase | None = get_conditional_response(request, etag, modified_at)
    if response is None:
        response = _build_response(
            request, content, size, is_current=_if_range(request, etag, modified_at)
        )
        response["Content-Type"] = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if not isinstance(response, FileResponse):
        content.close()
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = f"private, max-age={remaining_seconds}"
    response["ETag"] = etag
    response["Last-Modified"] = http_date(modified_at)
    return response


def _etag(name: str, size: int, modified: datetime) -> str:
    """A strong validator: a stored file is only ever replaced as a whole."""
    text = f"{name} {size} {modified.timestamp()}"
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _if_range(request: HttpRequest, etag: str, modified_at: int) -> bool:
    """Whether `If-Range` matches the current file, or is absent (RFC 9110, 13.1.5)."""
    known = request.headers.get("If-Range", "").strip()
    if not known or known.startswith(('"', "W/")):
        # A weak validator never matches.
        return known in ("", etag)
    return parse_http_date_safe(known) == modified_at


def _build_response(
    request: HttpRequest, content: BinaryIO, size: int, *, is_current: bool
) -> HttpResponseBase:
    if request.method == "HEAD":
        return HttpResponse(headers={"Content-Length": str(size)})
    try:
        byte_range = _parse_range(request.headers.get("Range", ""), size) if is_current else None
    except _UnsatisfiableRange:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    first, last = byte_range or (0, size - 1)
    content.seek(first)
    response = FileResponse(
        _FileRange(content, last - first + 1), status=206 if byte_range else 200
    )
    response["Content-Length"] = str(last - first + 1)
    if byte_range:
        # Also if the range is the whole file: iOS plays nothing from a server that answers 200.
        response["Content-Range"] = f"bytes {first}-{last}/{size}"
    return response


class _UnsatisfiableRange(Exception):
    """The range starts after the end of the file."""


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Parse a single byte range: first and last byte. None without a range, or for an unsupported
    one."""
    match = re.fullmatch(r"bytes=([0-9]{0,15})-([0-9]{0,15})", header.strip(), re.IGNORECASE)
    if not match or not (match[1] or match[2]):
        return None
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
    else:
        first, last = max(size - int(match[2]), 0), size - 1
    if first >= size:
        raise _UnsatisfiableRange
    return first, last


class _FileRange:
    """`length` bytes of an open file from its current position.

    The web server sends them by file descriptor (rendio/server). Other callers read them.
    """

    def __init__(self, content: BinaryIO, length: int) -> None:
        self._content = content
        self._left = length
        self.close = content.close

    def fileno(self) -> int:
        return self._content.fileno()

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        piece = self._content.read(min(size, self._left))
        self._left -= len(piece)
        return piece
