"""Apple's push service. Validates headers and payloads as documented, and records pushes instead of
showing them.

Every hexadecimal token belongs to a phone, in both environments, until `/control/apns` says
otherwise.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.apple.jws import decode_unverified, is_nonempty_text
from sandbox.environment import ServedApp
from sandbox.strict_body import UUID_PATTERN, StrictBody
from sandbox.times import now_in_milliseconds

ENVIRONMENTS = {"production": "/apns/3/device", "sandbox": "/apns/sandbox/3/device"}
TOKEN_PATTERN = re.compile(r"([0-9a-f]{2}){16,100}", re.IGNORECASE)
PUSH_TYPES = ("alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity")
PRIORITIES = ("10", "5", "1")
MAX_PAYLOAD_BYTES = 4096
MAX_COLLAPSE_ID_BYTES = 64
TOKEN_LIFETIME_SECONDS = 3600
CLOCK_SKEW_SECONDS = 60
ANY = "*"


@dataclass
class ApnsError:
    status: int
    reason: str
    timestamp: int | None = None
    """When Apple found the token invalid, in milliseconds."""
    times_left: int | None = None


class Apns:
    def __init__(self, app: ServedApp) -> None:
        self._app = app
        self._scripted: dict[str, ApnsError] = {}
        self._pushes: list[dict[str, Any]] = []

    def reset(self) -> None:
        self._scripted.clear()
        self._pushes.clear()

    def routes(self) -> list[Route]:
        return [
            Route(f"{prefix}/{{token}}", partial(self.push, environment), methods=["POST"])
            for environment, prefix in ENVIRONMENTS.items()
        ]

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        """Set the response for `token`, or for every token without one: for the next `times`
        pushes, or until changed. Status 200 restores the default."""
        fields.allow_only(("token", "status", "reason", "timestamp", "times"))
        token = (fields.find_text("token") or ANY).lower()
        status = fields.find_count("status", minimum=200, maximum=599) or 200
        if status == 200:
            self._scripted.pop(token, None)
            return {"token": token, "status": status}
        at = fields.find_milliseconds("timestamp")
        error = self._scripted[token] = ApnsError(
            status=status,
            reason=fields.get_text("reason"),
            timestamp=(at or now_in_milliseconds()) if status == 410 else None,
            times_left=fields.find_count("times", minimum=1),
        )
        return {"token": token, **vars(error)}

    def pushes_as_json(self) -> list[dict[str, Any]]:
        """Return all pushes, oldest first, with their responses."""
        return self._pushes

    async def push(self, environment: str, request: Request) -> Response:
        if request.scope["http_version"] != "2":
            return PlainTextResponse("Here is HTTP/2 alone.", status_code=505)
        token, body = str(request.path_params["token"]), await request.body()
        headers = {
            name: request.headers.get(f"apns-{name.replace('_', '-')}")
            for name in ("id", "topic", "push_type", "priority", "expiration", "collapse_id")
        }
        error = (
            self._next_scripted_error(token)
            or _find_token_error(request.headers.get("authorization", ""))
            or self._find_push_error(token, headers, body)
        )
        self._pushes.append(
            {
                "token": token,
                "environment": environment,
                "status": error.status if error else 200,
                "reason": error.reason if error else None,
                **headers,
                "payload": _decode_body(body),
                "at": datetime.now(UTC).isoformat(),
            }
        )
        echoed = {"apns-id": headers["id"] or ""}
        if error is None:
            return Response(headers=echoed)
        body_fields = {"reason": error.reason, "timestamp": error.timestamp}
        body_fields = {name: value for name, value in body_fields.items() if value is not None}
        return JSONResponse(body_fields, status_code=error.status, headers=echoed)

    def _next_scripted_error(self, token: str) -> ApnsError | None:
        for name in (token.lower(), ANY):
            if error := self._scripted.get(name):
                if error.times_left is not None:
                    error.times_left -= 1
                    if error.times_left == 0:
                        del self._scripted[name]
                return error
        return None

    def _find_push_error(
        self, token: str, headers: Mapping[str, str | None], body: bytes
    ) -> ApnsError | None:
        collapse_id, apns_id = headers["collapse_id"] or "", headers["id"]
        checks = {
            "BadDeviceToken": not TOKEN_PATTERN.fullmatch(token),
            "MissingTopic": not headers["topic"],
            "DeviceTokenNotForTopic": headers["topic"] != self._app.bundle_id,
            "InvalidPushType": headers["push_type"] not in PUSH_TYPES,
            "BadPriority": headers["priority"] not in (None, *PRIORITIES),
            "BadExpirationDate": not (headers["expiration"] or "0").isdecimal(),
            "BadCollapseId": len(collapse_id.encode()) > MAX_COLLAPSE_ID_BYTES,
            "BadMessageId": apns_id is not None and not UUID_PATTERN.fullmatch(apns_id),
            "PayloadEmpty": not body,
        }
        for reason, is_violated in checks.items():
            if is_violated:
                return ApnsError(400, reason)
        if len(body) > MAX_PAYLOAD_BYTES:
            return ApnsError(413, "PayloadTooLarge")
        return None


def _find_token_error(authorization: str) -> ApnsError | None:
    """Validate the provider token's claims. The signature is not checked, because the sandbox does
    not have the signer's key."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return ApnsError(403, "MissingProviderToken")
    header, claims = decode_unverified(token)
    issued_at, now = claims.get("iat"), time.time()
    if (
        header.get("alg") != "ES256"
        or not is_nonempty_text(header.get("kid"))
        or not is_nonempty_text(claims.get("iss"))
        or not isinstance(issued_at, int | float)
        or issued_at > now + CLOCK_SKEW_SECONDS
    ):
        return ApnsError(403, "InvalidProviderToken")
    if issued_at < now - TOKEN_LIFETIME_SECONDS:
        return ApnsError(403, "ExpiredProviderToken")
    return None


def _decode_body(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
