"""Media as the phone gets it: signed URLs of ours that expire.

With a bucket the storage signs its own URLs; from the local folder we serve the bytes ourselves, by
range where asked, since players seek.
"""

from __future__ import annotations

import mimetypes
import re
import time
from collections.abc import Iterator
from typing import BinaryIO, cast

from django.conf import settings
from django.core import signing
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from rendio.common.errors import Forbidden, NotFound

CHUNK_BYTES = 64 * 1024
_signer = signing.Signer(salt="rendio.media.until")


def url_for(name: str, *, seconds: int | None = None) -> str | None:
    """A URL that works for `seconds`, else MEDIA_URL_TTL_SECONDS; None for an empty name."""
    if not name:
        return None
    seconds = settings.MEDIA_URL_TTL_SECONDS if seconds is None else seconds
    if settings.MEDIA_BUCKET:
        # An argument of S3Storage, which the base class does not know.
        return default_storage.url(name, expire=seconds)  # type: ignore[call-arg]
    return _local_prefix() + _signer.sign_object([name, int(time.time()) + seconds])


def name_in(url: str) -> str | None:
    """The name that a URL of ours stands for, also one that works no longer; None for all
    others."""
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


def serve(request: HttpRequest, token: str) -> HttpResponse | StreamingHttpResponse:
    """GET and HEAD of a signed URL, with single byte ranges (RFC 9110, 14.2)."""
    try:
        name, until = _signer.unsign_object(token)
    except signing.BadSignature:
        raise Forbidden from None
    left = until - int(time.time())
    if left <= 0:
        raise Forbidden
    try:
        size = default_storage.size(name)
        content = cast("BinaryIO", default_storage.open(name))
    except FileNotFoundError:
        raise NotFound from None
    headers = {
        "Content-Type": mimetypes.guess_type(name)[0] or "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={left}",
    }
    if request.method == "HEAD":
        content.close()
        return HttpResponse(headers=headers | {"Content-Length": str(size)})
    try:
        asked = _range(request.headers.get("Range", ""), size)
    except _Unsatisfiable:
        content.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    first, last = asked or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if asked:
        # Also where it is the whole file: iOS plays nothing from a server that answers 200.
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    content.seek(first)
    return StreamingHttpResponse(
        _read(content, last - first + 1), status=206 if asked else 200, headers=headers
    )


class _Unsatisfiable(Exception):
    """The range begins behind the file's end."""


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None where none, or one we do not speak, is asked."""
    found = re.fullmatch(r"bytes=([0-9]{0,15})-([0-9]{0,15})", header.strip())
    if not found or not (found[1] or found[2]):
        return None
    if found[1]:
        first = int(found[1])
        last = min(int(found[2]), size - 1) if found[2] else size - 1
        if found[2] and int(found[2]) < first:
            return None
    else:
        first, last = max(size - int(found[2]), 0), size - 1
    if first >= size:
        raise _Unsatisfiable
    return first, last


def _read(content: BinaryIO, length: int) -> Iterator[bytes]:
    with content:
        while length > 0 and (chunk := content.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
