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
from rendio.common import http, http2

TIMEOUT_SECONDS = (3.0, 5.0)  # to connect, to read
MAX_PAYLOAD_BYTES = 4096
HIGH_PRIORITY = "10"  # at once


class Text(NamedTuple):
    """What the phone shows, in the user's language."""

    title: str
    body: str


class Verdict(Enum):
    """What an answer means for us."""

    SENT = auto()
    PHONE_GONE = auto()  # this token is good for nothing any more
    LATER = auto()  # this phone had too much just now
    OUT_OF_ORDER = auto()  # Apple's service, or the way to it
    TOKEN_EXPIRED = auto()  # our own, by its age
    NOT_ALLOWED = auto()  # our key, team or topic: no fault of the phone's
    OUR_FAULT = auto()  # what we sent, which would be refused again


@dataclass(frozen=True)
class Answer:
    verdict: Verdict
    reason: str = ""
    gone_at: datetime | None = None  # when Apple found the phone gone, if it says so


_BY_REASON = {
    "BadDeviceToken": Verdict.PHONE_GONE,
    "DeviceTokenNotForTopic": Verdict.PHONE_GONE,
    "ExpiredProviderToken": Verdict.TOKEN_EXPIRED,
    "IdleTimeout": Verdict.OUT_OF_ORDER,
    "TooManyRequests": Verdict.LATER,
    "TooManyProviderTokenUpdates": Verdict.OUT_OF_ORDER,
}
# Where the reason is none of these.
_BY_STATUS = {
    200: Verdict.SENT,
    401: Verdict.NOT_ALLOWED,
    403: Verdict.NOT_ALLOWED,
    410: Verdict.PHONE_GONE,
    429: Verdict.OUT_OF_ORDER,
}


def send(push: Push, token: PushToken, text: Text, *, provider_token: str) -> Answer:
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
        return Answer(Verdict.OUT_OF_ORDER, str(error))
    return _read(answer)


def payload(push: Push, text: Text) -> bytes:
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


def _read(answer: http.Answer) -> Answer:
    body = answer.json()
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    reason = told.get("reason")
    if not isinstance(reason, str):
        reason = "" if answer.ok else f"status {answer.status}"
    otherwise = Verdict.OUR_FAULT if 400 <= answer.status < 500 else Verdict.OUT_OF_ORDER
    verdict = _BY_REASON.get(reason) or _BY_STATUS.get(answer.status, otherwise)
    return Answer(verdict, reason[:60], _instant(told.get("timestamp")))


def _instant(milliseconds: object) -> datetime | None:
    # Beyond the year 9999 it is none.
    if type(milliseconds) is not int or not 0 < milliseconds < 2**47:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
