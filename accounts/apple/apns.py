"""How Apple's push service speaks, by "Sending notification requests to APNs" and "Handling
notification responses from APNs": one request for each phone, over HTTP/2."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from django.conf import settings

from accounts.models import ApnsEnvironment, Push, PushToken
from rendio.common.outbound import http, http2

TIMEOUT_SECONDS = (3.0, 5.0)  # to connect, to read
MAX_PAYLOAD_BYTES = 4096
HIGH_PRIORITY = "10"  # at once


class Message(NamedTuple):
    """What the phone shows, in the user's language."""

    title: str
    body: str


class ApnsResult(Enum):
    """What an answer means for us."""

    SENT = auto()
    UNREGISTERED = auto()  # this token is good for nothing any more
    THROTTLED = auto()  # this phone had too much just now
    UNAVAILABLE = auto()  # Apple's service, or the way to it
    TOKEN_EXPIRED = auto()  # our own, by its age
    CREDENTIALS_REJECTED = auto()  # our key, team or topic: no fault of the phone's
    REQUEST_REJECTED = auto()  # what we sent, which would be refused again


@dataclass(frozen=True)
class ApnsResponse:
    result: ApnsResult
    reason: str = ""
    gone_at: datetime | None = None  # when Apple found the phone gone, if it says so


_BY_REASON = {
    "BadDeviceToken": ApnsResult.UNREGISTERED,
    "DeviceTokenNotForTopic": ApnsResult.UNREGISTERED,
    "ExpiredProviderToken": ApnsResult.TOKEN_EXPIRED,
    "IdleTimeout": ApnsResult.UNAVAILABLE,
    "TooManyRequests": ApnsResult.THROTTLED,
    "TooManyProviderTokenUpdates": ApnsResult.UNAVAILABLE,
}
# Where the reason is none of these.
_BY_STATUS = {
    200: ApnsResult.SENT,
    401: ApnsResult.CREDENTIALS_REJECTED,
    403: ApnsResult.CREDENTIALS_REJECTED,
    410: ApnsResult.UNREGISTERED,
    429: ApnsResult.UNAVAILABLE,
}


def send(push: Push, token: PushToken, text: Message, *, provider_token: str) -> ApnsResponse:
    """Ask Apple to show it, once. Touches no database."""
    try:
        answer = http2.post(
            f"{_host(token)}/3/device/{token.token}",
            headers={
                "authorization": f"bearer {provider_token}",
                "apns-topic": settings.APNS_TOPIC,
                "apns-push-type": "alert",
                "apns-priority": HIGH_PRIORITY,
                "apns-expiration": str(int(push.expires_at.timestamp())),
                # What was sent before under this is replaced on the phone.
                "apns-collapse-id": str(push.subject_id),
                "apns-id": str(push.id),
                "content-type": "application/json",
            },
            body=payload(push, text),
            timeout=TIMEOUT_SECONDS,
        )
    except (http.NotSent, http.NoAnswer) as error:
        return ApnsResponse(ApnsResult.UNAVAILABLE, str(error))
    return _parse(answer)


def payload(push: Push, text: Message) -> bytes:
    """What the phone gets: the app finds its page by `kind` and `job_id`."""
    content = {
        "aps": {"alert": text._asdict(), "sound": "default"},
        "kind": push.kind,
        "job_id": str(push.job_id),
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _host(token: PushToken) -> str:
    is_sandbox = token.environment == ApnsEnvironment.SANDBOX
    host: str = settings.APNS_SANDBOX_URL if is_sandbox else settings.APNS_URL
    return host


def _parse(answer: http.Response) -> ApnsResponse:
    body = answer.json()
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    reason = told.get("reason")
    if not isinstance(reason, str):
        reason = "" if answer.ok else f"status {answer.status}"
    otherwise = (
        ApnsResult.REQUEST_REJECTED if 400 <= answer.status < 500 else ApnsResult.UNAVAILABLE
    )
    result = _BY_REASON.get(reason) or _BY_STATUS.get(answer.status, otherwise)
    return ApnsResponse(result, reason[:60], _instant(told.get("timestamp")))


def _instant(milliseconds: object) -> datetime | None:
    # Beyond the year 9999 it is none.
    if type(milliseconds) is not int or not 0 < milliseconds < 2**47:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
