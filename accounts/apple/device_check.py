"""Apple's DeviceCheck: two bits per device and developer team, which survive a reinstall.

Apple answers in plain text where there is no bit state, even with 200. The status codes are
documented; the text for bits that were never set is known in two wordings
(settings.DEVICECHECK_NEVER_SET). Any other 200 is refused: a proxy's page read as "never set" would
give every phone a second welcome. Nothing is retried here; the phone retries.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import uuid4

import jwt
import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.errors import AppleOutcomeUnknown, IdentityServiceUnavailable, InvalidDevice
from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

TIMEOUT_SECONDS = (5.0, 10.0)  # to connect, to read; a person waits
# Apple accepts a token for at most an hour, and discourages a new one for each request.
TOKEN_LIFETIME_SECONDS = 600
# Refused before any effect. Other failures may come after it.
_REFUSED_UNDONE = {401, 403, 405, 429, 503}


@dataclass(frozen=True)
class Bits:
    """`bit0`: this hardware had its welcome. `bit1`: this hardware is banned."""

    bit0: bool
    bit1: bool


def query_bits(device_token: str) -> Bits:
    """The device's bits; both False if never set.

    Raises InvalidDevice, and IdentityServiceUnavailable, also for an unreadable response.
    """
    answer = _call("query_two_bits", device_token)
    if _normal(answer.body.decode("utf-8", "replace")) in map(
        _normal, settings.DEVICECHECK_NEVER_SET
    ):
        return Bits(bit0=False, bit1=False)
    body = answer.json()
    bits = body if isinstance(body, dict) else {}
    bit0, bit1 = bits.get("bit0"), bits.get("bit1")
    if not (isinstance(bit0, bool) and isinstance(bit1, bool)):
        logger.error("devicecheck_unreadable", answer=_brief(answer))
        raise IdentityServiceUnavailable
    return Bits(bit0=bit0, bit1=bit1)


def update_bits(device_token: str, bits: Bits) -> None:
    """Set both bits.

    Raises InvalidDevice or IdentityServiceUnavailable if they were not set, AppleOutcomeUnknown if
    they may have been.
    """
    _call("update_two_bits", device_token, bit0=bits.bit0, bit1=bits.bit1)


def _call(operation: str, device_token: str, **fields: Any) -> http.Response:
    try:
        answer = http.request(
            "POST",
            f"{settings.DEVICECHECK_URL}/{operation}",
            headers={
                "Authorization": f"Bearer {_token(int(time.time()) // TOKEN_LIFETIME_SECONDS)}"
            },
            json={
                "device_token": device_token,
                "transaction_id": str(uuid4()),
                "timestamp": time.time_ns() // 1_000_000,
                **fields,
            },
            timeout=TIMEOUT_SECONDS,
        )
    except http.NotSent as error:
        logger.warning("devicecheck_unreachable", operation=operation, error=str(error))
        raise IdentityServiceUnavailable from error
    except http.NoAnswer as error:
        logger.warning("devicecheck_no_answer", operation=operation, error=str(error))
        raise AppleOutcomeUnknown from error
    if answer.status == 200:
        return answer
    logger.warning(
        "devicecheck_refused", operation=operation, status=answer.status, answer=_brief(answer)
    )
    if answer.status == 400:
        raise InvalidDevice
    if answer.status in _REFUSED_UNDONE:
        raise IdentityServiceUnavailable
    raise AppleOutcomeUnknown


@lru_cache(maxsize=2)
def _token(period: int) -> str:
    """Our token for Apple, one for each period in this process."""
    if not settings.DEVICECHECK_PRIVATE_KEY:
        raise ImproperlyConfigured("DEVICECHECK_PRIVATE_KEY is not set.")
    return jwt.encode(
        {"iss": settings.APPLE_TEAM_ID, "iat": int(time.time())},
        settings.DEVICECHECK_PRIVATE_KEY,
        algorithm="ES256",
        headers={"kid": settings.DEVICECHECK_KEY_ID},
    )


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _brief(answer: http.Response) -> str:
    return answer.body[:200].decode("utf-8", "replace")
