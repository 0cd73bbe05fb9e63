"""fal.ai's queue API, as its own documentation and clients have it.

Submit, look, fetch, cancel: https://docs.fal.ai/model-apis/model-endpoints/queue; webhooks and
their Ed25519 signature: https://docs.fal.ai/model-apis/model-endpoints/webhooks. Two things shape
this module: fal has no idempotency key, so a submit that was sent twice is two paid videos, and a
job that failed is COMPLETED all the same, so only the result tells.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from generation.providers.base import (
    RATE_LIMITED,
    Accepted,
    BadSignature,
    CancelAnswer,
    Done,
    Failed,
    Handle,
    Later,
    Media,
    Provider,
    Reason,
    Refused,
    Running,
    Submission,
    Timeout,
    Unknown,
    WebhookEvent,
    words,
)
from rendio.common import http

WEBHOOK_TOLERANCE_SECONDS = 300
KEYS_LIVE_SECONDS = 24 * 3600
KEYS_REFETCH_SECONDS = 30
KEYS_RETRY_SECONDS = 5
BALANCE_RETRY_SECONDS = 30
STATUS_BYTES = 8_000_000
REQUEST_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
# Ids in these namespaces have three segments in the request's URLs, all others two.
THREE_SEGMENTS = {"workflows", "comfy"}


class Fal(Provider):
    name = "fal"

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> Submission:
        try:
            answer = http.request(
                "POST",
                f"{self._access.url}/{model_id}",
                headers=self._headers(key_label),
                json=body,
                params={"fal_webhook": webhook_url},
            )
        except http.NotSent as error:
            return Later(5, "not_sent", str(error))
        except http.NoAnswer as error:
            return Unknown(str(error))
        said = _object(answer.json())
        detail = _detail(said)
        if answer.ok:
            handle = self._handle(model_id, said, key_label)
            if handle is None:
                return Unknown("accepted without an id")
            return Accepted(handle, _integer(said.get("queue_position")))
        match answer.status:
            case 429:
                return Later(_retry_after(answer), RATE_LIMITED, detail)
            case 401 | 403:
                # Our key or our balance: never the customer's fault, and it can be mended
                # meanwhile.
                return Later(BALANCE_RETRY_SECONDS, "account", detail)
            case 404:
                return Refused(Reason.PROVIDER_ERROR, "no_such_model", detail)
            case 400 | 413 | 422:
                return Refused(Reason.REJECTED, _error_type(said), detail)
            case status:
                return Unknown(f"status {status}")

    def status(self, handle: Handle) -> Running | Done | Unknown:
        said = self._status(handle)
        if isinstance(said, Unknown):
            return said
        match said.get("status"):
            case "IN_QUEUE":
                return Running(began=False, queue_position=_integer(said.get("queue_position")))
            case "IN_PROGRESS":
                return Running(began=True, progress=_progress(said.get("logs")))
            case "COMPLETED":
                return Done()
            case other:
                return Unknown(f"status {str(other)[:40]!r}")

    def _status(self, handle: Handle) -> dict[str, Any] | Unknown:
        try:
            answer = http.request(
                "GET",
                handle.status_url,
                headers=self._headers(handle.key_label),
                params={"logs": "1"},
                # With all lines of its log so far.
                max_bytes=STATUS_BYTES,
            )
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        return _object(answer.json()) if answer.ok else Unknown(f"status {answer.status}")

    def result(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        try:
            answer = http.request(
                "GET",
                handle.response_url,
                headers=self._headers(handle.key_label),
                timeout=timeout,
            )
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        body = answer.json()
        said = _object(body)
        infrastructure = words(
            answer.headers.get("X-Fal-Error-Type") or said.get("error_type"), longest=80
        )
        error_type = infrastructure or _error_type(said)
        detail = _detail(said)
        match answer.status:
            case 200 if not isinstance(body, dict):
                return Unknown("no JSON object")
            case 200:
                media = _media(said)
                return media or Failed(Reason.PROVIDER_ERROR, "no_media", "no URL in the result")
            case 422:
                return Failed(Reason.REJECTED, error_type, detail)
            case 499:
                return Failed(Reason.CANCELLED, error_type, detail)
            case 400 if not error_type and "in progress" in detail.lower():
                return Running(began=True)
            case 400 if error_type in {"downstream_service_error", ""}:
                return Failed(Reason.PROVIDER_ERROR, error_type, detail)
            case 400:
                return Failed(Reason.REJECTED, error_type, detail)
            case 401 | 403 | 404 | 408 | 429:
                # Our key, a result that is not there (yet), a limit: none says that it failed.
                return Unknown(f"status {answer.status}")
            case status if status >= 500 and infrastructure and not self._has_failed(handle):
                # Fetching failed, not the job.
                return Unknown(f"status {status}")
            case status if status >= 500 and (error_type or said.get("detail")):
                # The job's own end, replayed with its own body. A bare 5xx is the gateway's.
                return Failed(Reason.PROVIDER_ERROR, error_type, detail)
            case status:
                return Unknown(f"status {status}")

    def _has_failed(self, handle: Handle) -> bool:
        """Whether the queue says that the job itself broke on fal's infrastructure.

        Such an end is replayed when the result is fetched, in the same words in which fetching it
        can fail; but then the status has them too.
        """
        said = self._status(handle)
        return not isinstance(said, Unknown) and bool(said.get("error_type") or said.get("error"))

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelAnswer:
        try:
            answer = http.request(
                "PUT",
                handle.cancel_url,
                headers=self._headers(handle.key_label),
                timeout=timeout,
            )
        except (http.NotSent, http.NoAnswer):
            return CancelAnswer.UNKNOWN
        if answer.ok:
            return CancelAnswer.ASKED
        if answer.status in {400, 404}:
            return CancelAnswer.TOO_LATE
        return CancelAnswer.UNKNOWN

    def handle_for(self, *, model_id: str, request_id: str, key_label: str = "") -> Handle:
        segments = model_id.split("/")
        kept = 3 if segments[0] in THREE_SEGMENTS else 2
        app, name = "/".join(segments[:kept]), quote(request_id, safe="")
        base = f"{self._access.url}/{app}/requests/{name}"
        return Handle(request_id, f"{base}/status", base, f"{base}/cancel", key_label)

    def _handle(self, model_id: str, said: dict[str, Any], key_label: str) -> Handle | None:
        """fal's own URLs, as fal advises. None where it did not say an id."""
        request_id = said.get("request_id")
        if not (isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id)):
            return None
        known = self.handle_for(model_id=model_id, request_id=request_id)
        return Handle(
            request_id,
            self._queue_url(said.get("status_url")) or known.status_url,
            self._queue_url(said.get("response_url")) or known.response_url,
            self._queue_url(said.get("cancel_url")) or known.cancel_url,
            key_label,
        )

    def _queue_url(self, value: Any) -> str | None:
        """A URL under fal's queue: our key goes with each request, and goes nowhere else."""
        url = words(value, longest=1000)
        return url if url.startswith(f"{self._access.url}/") else None

    def _headers(self, key_label: str) -> dict[str, str]:
        return {"Authorization": f"Key {self._access.keys.secret(key_label)}"}

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        try:
            request_id = headers["X-Fal-Webhook-Request-Id"]
            user_id = headers["X-Fal-Webhook-User-Id"]
            timestamp = headers["X-Fal-Webhook-Timestamp"]
            signature = bytes.fromhex(headers["X-Fal-Webhook-Signature"])
            age = abs(time.time() - int(timestamp))
        except (KeyError, ValueError):
            raise BadSignature("headers") from None
        if age > WEBHOOK_TOLERANCE_SECONDS:
            raise BadSignature("timestamp")
        # Any customer of fal can have fal sign a call to our address.
        if settings.FAL_USER_ID and user_id != settings.FAL_USER_ID:
            raise BadSignature("not our account")
        digest = hashlib.sha256(body).hexdigest()
        message = "\n".join([request_id, user_id, timestamp, digest]).encode()
        if not _keys.verify(message, signature):
            raise BadSignature("signature")
        return WebhookEvent(request_id)


class _KeySet:
    """fal's public keys: kept a day, and fetched again when none of them fits.

    Whoever forges calls must not make us ask fal more than every 30 seconds (5 after a failure),
    nor keep genuine ones waiting: with a key that fits no lock is taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: list[Ed25519PublicKey] = []
        self._fetched_at = self._failed_at = float("-inf")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Raises NotSent or NoAnswer where the keys that would tell cannot be had."""
        if _age(self._fetched_at) <= KEYS_LIVE_SECONDS and _fits(self._keys, message, signature):
            return True
        with self._lock:
            if _age(self._fetched_at) > KEYS_REFETCH_SECONDS:
                self._fetch()
        return _fits(self._keys, message, signature)

    def _fetch(self) -> None:
        if _age(self._failed_at) < KEYS_RETRY_SECONDS:
            raise http.NoAnswer("key set: could not be had a moment ago")
        self._failed_at = time.monotonic()
        answer = http.request("GET", settings.FAL_JWKS_URL, timeout=(3, 5))
        listed = _object(answer.json()).get("keys")
        keys = [key for jwk in (listed if isinstance(listed, list) else []) if (key := _key(jwk))]
        if not (answer.ok and keys):
            raise http.NoAnswer(f"key set: status {answer.status}, {len(keys)} keys")
        self._keys, self._fetched_at, self._failed_at = keys, time.monotonic(), float("-inf")


def _age(moment: float) -> float:
    return time.monotonic() - moment


def _fits(keys: list[Ed25519PublicKey], message: bytes, signature: bytes) -> bool:
    for key in keys:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def _key(jwk: Any) -> Ed25519PublicKey | None:
    """None for a key of another kind, and for what is no key."""
    if not (isinstance(jwk, dict) and jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519"):
        return None
    try:
        raw = base64.urlsafe_b64decode(str(jwk.get("x", "")) + "==")
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        return None


_keys = _KeySet()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _integer(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def _retry_after(answer: http.Answer) -> int:
    seconds = re.fullmatch(r"[0-9]{1,6}", answer.headers.get("Retry-After", "").strip())
    return min(max(int(seconds[0]), 1), 60) if seconds else 5


def _error_type(said: dict[str, Any]) -> str:
    """`error_type` of the infrastructure's errors, or the first `type` of the model's own."""
    if isinstance(said.get("error_type"), str):
        return words(said["error_type"], longest=80)
    detail = said.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return words(detail[0].get("type"), longest=80)
    return ""


def _detail(said: dict[str, Any]) -> str:
    """What went wrong in words, for support; the customer's own input is never in it."""
    detail = said.get("detail")
    if isinstance(detail, list):
        detail = "; ".join(str(item.get("msg", "")) for item in detail if isinstance(item, dict))
    return words(detail, longest=500)


def _progress(logs: Any) -> int | None:
    """The last percentage in the logs; fal has no field for it."""
    for line in reversed(logs if isinstance(logs, list) else []):
        if found := re.search(r"(\d{1,3})\s?%", str(_object(line).get("message", ""))):
            return min(int(found[1]), 100)
    return None


def _media(said: dict[str, Any]) -> Media | None:
    video = _object(said.get("video"))
    if isinstance(video.get("url"), str):
        return Media(video["url"], "video")
    images = said.get("images")
    if isinstance(images, list) and images and isinstance(_object(images[0]).get("url"), str):
        return Media(images[0]["url"], "image")
    return None
