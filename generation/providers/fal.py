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

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from generation.providers.base import (
    Accepted,
    BadSignature,
    CancelAnswer,
    Done,
    Failed,
    Handle,
    Later,
    Media,
    Reason,
    Refused,
    Running,
    Submission,
    Unknown,
    WebhookEvent,
)
from rendio.common import http

WEBHOOK_TOLERANCE_SECONDS = 300
KEYS_LIVE_SECONDS = 24 * 3600
KEYS_REFETCH_SECONDS = 30
BALANCE_RETRY_SECONDS = 30
# Ids in these namespaces have three segments in the request's URLs, all others two.
THREE_SEGMENTS = {"workflows", "comfy"}


class Fal:
    name = "fal"

    @property
    def media_hosts(self) -> list[str]:
        return list(settings.FAL_MEDIA_HOSTS)

    def submit(self, *, model_id: str, body: dict[str, Any], webhook_url: str) -> Submission:
        try:
            answer = http.request(
                "POST",
                f"{settings.FAL_QUEUE_URL}/{model_id}",
                headers=_headers(),
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
            try:
                handle = Handle(
                    said["request_id"],
                    said["status_url"],
                    said["response_url"],
                    said["cancel_url"],
                )
            except KeyError:
                return Unknown("accepted without an id")
            return Accepted(handle, _integer(said.get("queue_position")))
        match answer.status:
            case 429:
                return Later(_retry_after(answer), "rate_limited", detail)
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
        try:
            answer = http.request(
                "GET", handle.status_url, headers=_headers(), params={"logs": "1"}
            )
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        said = _object(answer.json())
        if not answer.ok:
            return Unknown(f"status {answer.status}")
        match said.get("status"):
            case "IN_QUEUE":
                return Running(began=False, queue_position=_integer(said.get("queue_position")))
            case "IN_PROGRESS":
                return Running(began=True, progress=_progress(said.get("logs")))
            case "COMPLETED":
                return Done()
            case other:
                return Unknown(f"status {str(other)[:40]!r}")

    def result(self, handle: Handle) -> Media | Failed | Running | Unknown:
        try:
            answer = http.request("GET", handle.response_url, headers=_headers())
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        said = _object(answer.json())
        error_type = answer.headers.get("X-Fal-Error-Type") or _error_type(said)
        detail = _detail(said)
        match answer.status:
            case 200:
                media = _media(said)
                return media or Failed(Reason.PROVIDER_ERROR, "no_media", "no URL in the result")
            case 422:
                return Failed(Reason.REJECTED, error_type, detail)
            case 499:
                return Failed(Reason.CANCELLED, error_type, detail)
            case 400 if "in progress" in detail.lower():
                return Running(began=True)
            case 400 if error_type in {"downstream_service_error", ""}:
                return Failed(Reason.PROVIDER_ERROR, error_type, detail)
            case 400:
                return Failed(Reason.REJECTED, error_type, detail)
            case 401 | 403 | 404 | 408 | 429:
                # Our key, a result that is not there (yet), a limit: none says that it failed.
                return Unknown(f"status {answer.status}")
            case status if status >= 500 and (error_type or said.get("detail")):
                # The model's own answer, replayed with its own body. A bare 5xx is the gateway's.
                return Failed(Reason.PROVIDER_ERROR, error_type, detail)
            case status:
                return Unknown(f"status {status}")

    def cancel(self, handle: Handle) -> CancelAnswer:
        try:
            answer = http.request("PUT", handle.cancel_url, headers=_headers(), timeout=(3, 5))
        except (http.NotSent, http.NoAnswer):
            return CancelAnswer.UNKNOWN
        if answer.ok:
            return CancelAnswer.ASKED
        if answer.status in {400, 404}:
            return CancelAnswer.TOO_LATE
        return CancelAnswer.UNKNOWN

    def handle_for(self, *, model_id: str, request_id: str) -> Handle:
        segments = model_id.split("/")
        kept = 3 if segments[0] in THREE_SEGMENTS else 2
        base = f"{settings.FAL_QUEUE_URL}/{'/'.join(segments[:kept])}/requests/{request_id}"
        return Handle(request_id, f"{base}/status", base, f"{base}/cancel")

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
        if not (_keys.verify(message, signature) or _keys.verify(message, signature, anew=True)):
            raise BadSignature("signature")
        return WebhookEvent(request_id)


class _KeySet:
    """fal's public keys: kept a day, fetched again when none fits, at most every 30 seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: list[Ed25519PublicKey] = []
        self._fetched_at = float("-inf")

    def verify(self, message: bytes, signature: bytes, *, anew: bool = False) -> bool:
        for key in self._current(anew=anew):
            try:
                key.verify(signature, message)
            except InvalidSignature:
                continue
            return True
        return False

    def _current(self, *, anew: bool) -> list[Ed25519PublicKey]:
        with self._lock:
            age = time.monotonic() - self._fetched_at
            if age > (KEYS_REFETCH_SECONDS if anew else KEYS_LIVE_SECONDS):
                self._fetch()
            return self._keys

    def _fetch(self) -> None:
        answer = http.request("GET", settings.FAL_JWKS_URL, timeout=(3, 5))
        if not answer.ok:
            raise http.NoAnswer(f"key set: status {answer.status}")
        keys = []
        for jwk in _object(answer.json()).get("keys", []):
            if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
                raw = base64.urlsafe_b64decode(jwk["x"] + "==")
                keys.append(Ed25519PublicKey.from_public_bytes(raw))
        self._keys, self._fetched_at = keys, time.monotonic()


_keys = _KeySet()


def _headers() -> dict[str, str]:
    return {"Authorization": f"Key {settings.FAL_KEY}"}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _integer(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _retry_after(answer: http.Answer) -> int:
    text = answer.headers.get("Retry-After", "")
    return min(max(int(text), 1), 60) if text.isdigit() else 5


def _error_type(said: dict[str, Any]) -> str:
    """`error_type` of the infrastructure's errors, or the first `type` of the model's own."""
    if isinstance(said.get("error_type"), str):
        return str(said["error_type"])[:80]
    detail = said.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return str(detail[0].get("type", ""))[:80]
    return ""


def _detail(said: dict[str, Any]) -> str:
    """What went wrong in words, for support; the customer's own input is never in it."""
    detail = said.get("detail")
    if isinstance(detail, list):
        detail = "; ".join(str(item.get("msg", "")) for item in detail if isinstance(item, dict))
    return str(detail or "")[:500]


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
