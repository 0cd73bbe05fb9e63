"""Client of Apple's push service (APNs): one HTTP/2 request for each phone.

Sources: "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

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
    """Title and body, in the user's language."""

    title: str
    body: str


class ApnsResult(Enum):
    """The meaning of an APNs response for us."""

    SENT = auto()
    UNREGISTERED = auto()  # this token is no longer valid
    THROTTLED = auto()  # too many pushes for this phone
    UNAVAILABLE = auto()  # Apple's service, or the network
    TOKEN_EXPIRED = auto()  # our provider token is too old
    CREDENTIALS_REJECTED = auto()  # our key, team or topic
    REQUEST_REJECTED = auto()  # our request; a retry would fail again


@dataclass(frozen=True)
class ApnsResponse:
    result: ApnsResult
    reason: str = ""
    gone_at: datetime | None = None  # when Apple found the token invalid


_BY_REASON = {
    "BadDeviceToken": ApnsResult.UNREGISTERED,
    "DeviceTokenNotForTopic": ApnsResult.UNREGISTERED,
    "ExpiredProviderToken": ApnsResult.TOKEN_EXPIRED,
    "IdleTimeout": ApnsResult.UNAVAILABLE,
    "TooManyRequests": ApnsResult.THROTTLED,
    "TooManyProviderTokenUpdates": ApnsResult.UNAVAILABLE,
}
# Used if the reason is none of these.
_BY_STATUS = {
    200: ApnsResult.SENT,
    401: ApnsResult.CREDENTIALS_REJECTED,
    403: ApnsResult.CREDENTIALS_REJECTED,
    410: ApnsResult.UNREGISTERED,
    429: ApnsResult.UNAVAILABLE,
}


def send(push: Push, token: PushToken, text: Message, *, provider_token: str) -> ApnsResponse:
    """Ask Apple to deliver the push, once. No database access."""
    try:
        answer = http2.post(
            f"{_host(token)}/3/device/{token.token}",
            headers={
                "authorization": f"bearer {provider_token}",
                "apns-topic": settings.APNS_TOPIC,
                "apns-push-type": "alert",
                "apns-priority": HIGH_PRIORITY,
                "apns-expiration": str(int(push.expires_at.timestamp())),
                # Replaces an earlier push with this id on the phone.
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
    """The JSON body: the app finds its page by `kind` and `job_id`."""
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
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    reason = fields.get("reason")
    if not isinstance(reason, str):
        reason = "" if answer.ok else f"status {answer.status}"
    otherwise = (
        ApnsResult.REQUEST_REJECTED if 400 <= answer.status < 500 else ApnsResult.UNAVAILABLE
    )
    result = _BY_REASON.get(reason) or _BY_STATUS.get(answer.status, otherwise)
    return ApnsResponse(result, reason[:60], _instant(fields.get("timestamp")))


def _instant(milliseconds: object) -> datetime | None:
    # Beyond the year 9999 it is not a timestamp.
    if type(milliseconds) is not int or not 0 < milliseconds < 2**47:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
