"""The bucket of media files: django-storages' S3Storage with quickly signed URLs.

boto3 takes 280 µs to sign a URL, most of it to find out for each URL where the bucket is; a page of
20 jobs has 40. Here boto3 is asked once a minute, and its URL says where files are. The signature
is Amazon's Signature Version 4 in query parameters:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from storages.backends.s3 import S3Storage
from storages.utils import clean_name

from rendio.common.ttl_cache import TtlCached

LOCATION_CACHE_SECONDS = 60


@dataclass(frozen=True)
class _Location:
    """Where the bucket's files are: `prefix` and a file's name are the URL. `scope` is the part of
    a credential after its date: region, service and `aws4_request`."""

    prefix: str
    host: str
    path_prefix: str
    scope: str


class Bucket(S3Storage):  # type: ignore[misc]  # without stubs
    """Needs the signature version s3v4, and no CloudFront."""

    def url(
        self,
        name: str,
        parameters: dict[str, Any] | None = None,
        expire: int | None = None,
        http_method: str | None = None,
    ) -> str:
        """A signed URL to get the file, valid for `expire` seconds; other URLs as S3Storage."""
        if parameters or http_method:
            return str(super().url(name, parameters, expire, http_method))
        location = self._location()
        path = quote(self._normalize_name(clean_name(name)), safe="/~")
        query = self._signed_query(
            location,
            path=location.path_prefix + path,
            seconds=self.querystring_expire if expire is None else expire,
            moment=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        )
        return f"{location.prefix}{path}?{query}"

    def _signed_query(self, location: _Location, *, path: str, seconds: int, moment: str) -> str:
        """`moment`: the time of the signature, such as 20260102T030405Z."""
        signing = _signing(
            self._credentials.get_frozen_credentials(), location, seconds=seconds, moment=moment
        )
        request = f"GET\n{path}\n{signing.request_end}"
        text = signing.text_start + hashlib.sha256(request.encode()).hexdigest()
        keyed = signing.keyed.copy()
        keyed.update(text.encode())
        return f"{signing.query}&X-Amz-Signature={keyed.hexdigest()}"

    @cached_property
    def _credentials(self) -> Any:
        """botocore's, which renews those of a machine's role."""
        return self._create_session().get_credentials()

    @cached_property
    def _location(self) -> TtlCached[[], _Location]:
        return TtlCached(self._find_location, lambda: LOCATION_CACHE_SECONDS)

    def _find_location(self) -> _Location:
        url = urlsplit(super().url("-"))
        [credential] = parse_qs(url.query)["X-Amz-Credential"]
        path_prefix = url.path.removesuffix("-")
        return _Location(
            prefix=f"{url.scheme}://{url.netloc}{path_prefix}",
            host=url.netloc,
            path_prefix=path_prefix,
            scope=credential.split("/", 2)[2],
        )


class _Signing(NamedTuple):
    """What the signatures of one second have in common."""

    query: str  # but the signature
    request_end: str
    text_start: str
    keyed: hmac.HMAC  # to be copied


@lru_cache(maxsize=4)
def _signing(credentials: Any, location: _Location, *, seconds: int, moment: str) -> _Signing:
    day = moment[:8]
    credential = quote(f"{credentials.access_key}/{day}/{location.scope}", safe="~")
    token = (
        f"&X-Amz-Security-Token={quote(credentials.token, safe='~')}" if credentials.token else ""
    )
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={moment}"
        f"&X-Amz-Expires={seconds}{token}&X-Amz-SignedHeaders=host"
    )
    return _Signing(
        query,
        request_end=f"{query}\nhost:{location.host}\n\nhost\nUNSIGNED-PAYLOAD",
        text_start=f"AWS4-HMAC-SHA256\n{moment}\n{day}/{location.scope}\n",
        keyed=hmac.new(
            _signing_key(credentials.secret_key, day, location.scope), digestmod="sha256"
        ),
    )


@lru_cache(maxsize=4)
def _signing_key(secret: str, day: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, *scope.split("/")):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
