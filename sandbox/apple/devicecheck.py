"""DeviceCheck: two bits for each device, which survive a reinstall.

Apple responds in plain text if there is no bit state, also with 200. Only Apple can map a token to
its device; here each token is a device of its own, unless a control assigned several tokens to one
`hardware`.
"""

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.apple.faults import Outages
from sandbox.apple.jws import decode_unverified, is_nonempty_text
from sandbox.strict_body import BadRequest, StrictBody
from sandbox.times import is_milliseconds

NEVER_SET = "Failed to find bit state"
BAD_TOKEN = "Missing or incorrectly formatted device token payload"  # noqa: S105 (Apple's sentence)
BAD_BITS = "Missing or incorrectly formatted bits"
BAD_TIMESTAMP = "Missing or incorrectly formatted time stamp"
BAD_PAYLOAD = "Missing or badly formatted payload"
UNAUTHORIZED = "Unable to verify authorization token"

SANDBOX_PREFIX = "sandbox-"
JWT_LIFETIME_SECONDS = 3600
CLOCK_SKEW_SECONDS = 60
MAX_LATENCY_SECONDS = 60


@dataclass
class Device:
    """`bit0` and `bit1` are None until they are first set."""

    valid: bool = True
    bit0: bool | None = None
    bit1: bool | None = None
    updated_at: datetime | None = None

    def set_bits(self, bit0: bool | None, bit1: bool | None) -> None:
        """Set the bits. None leaves a bit unchanged; a bit that was never set becomes false."""
        self.bit0 = bool(self.bit0) if bit0 is None else bit0
        self.bit1 = bool(self.bit1) if bit1 is None else bit1
        self.updated_at = datetime.now(UTC)


class DeviceCheck:
    def __init__(self, outages: Outages) -> None:
        self._outages = outages
        self._devices: dict[str, Device] = {}
        # Hardware by token, for tokens that share one.
        self._hardware: dict[str, str] = {}
        self._latency_seconds = 0.0

    def reset(self) -> None:
        self._devices.clear()
        self._hardware.clear()
        self._latency_seconds = 0.0

    def routes(self) -> list[Route]:
        return [
            Route(f"/apple/devicecheck/v1/{name}", endpoint, methods=["POST"])
            for name, endpoint in (
                ("query_two_bits", self.query_two_bits),
                ("update_two_bits", self.update_two_bits),
                ("validate_device_token", self.validate_device_token),
            )
        ]

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        """Set the state of a token. Omitted fields stay unchanged.

        Tokens with the same `hardware` share their bits. `latency` applies to every call: seconds,
        half of them before and half after the call takes effect.
        """
        fields.allow_only(("device_token", "hardware", "bit0", "bit1", "valid", "latency"))
        latency = fields.find_seconds("latency", max_seconds=MAX_LATENCY_SECONDS)
        if latency is not None:
            self._latency_seconds = latency
            if not fields.has("device_token"):
                return {"latency": latency}
        token, hardware = fields.get_text("device_token"), fields.find_text("hardware")
        bit0, bit1, valid = (fields.find_flag(name) for name in ("bit0", "bit1", "valid"))
        if all(given is None for given in (bit0, bit1, valid, hardware, latency)):
            raise BadRequest("Give hardware, bit0, bit1, valid or latency.")
        if hardware is not None:
            self._hardware[device_name(token)] = hardware
        device = self._devices.setdefault(self._hardware_of(token), Device())
        if valid is not None:
            device.valid = valid
        if bit0 is not None or bit1 is not None:
            device.set_bits(bit0, bit1)
        return {
            "device_token": token,
            "bit0": device.bit0,
            "bit1": device.bit1,
            "valid": device.valid,
        }

    async def query_two_bits(self, request: Request) -> Response:
        device, _ = await self._parse(request)
        response: Response = PlainTextResponse(NEVER_SET)
        if device.updated_at is not None:
            response = JSONResponse(
                {
                    "bit0": device.bit0,
                    "bit1": device.bit1,
                    "last_update_time": device.updated_at.strftime("%Y-%m"),
                }
            )
        await self._delay_response()
        return response

    async def update_two_bits(self, request: Request) -> Response:
        device, body = await self._parse(request)
        bits = [body.get("bit0"), body.get("bit1")]
        if bits == [None, None] or not all(bit is None or isinstance(bit, bool) for bit in bits):
            raise HTTPException(400, BAD_BITS)
        device.set_bits(*bits)
        await self._delay_response()
        return Response()

    async def _delay_response(self) -> None:
        await asyncio.sleep(self._latency_seconds / 2)

    async def validate_device_token(self, request: Request) -> Response:
        await self._parse(request)
        return Response()

    async def _parse(self, request: Request) -> tuple[Device, dict[str, Any]]:
        """Return the device and body of a request, after half of the latency. Raises Apple's
        errors."""
        await asyncio.sleep(self._latency_seconds / 2)
        self._outages.raise_if_down("devicecheck")
        if not _is_authorized(request.headers.get("authorization", "")):
            raise HTTPException(401, UNAUTHORIZED)
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not is_nonempty_text(body.get("transaction_id")):
            raise HTTPException(400, BAD_PAYLOAD)
        if not is_milliseconds(body.get("timestamp")):
            raise HTTPException(400, BAD_TIMESTAMP)
        device = self._find_device(body.get("device_token"))
        if device is None:
            raise HTTPException(400, BAD_TOKEN)
        return device, body

    def _find_device(self, token: object) -> Device | None:
        if not isinstance(token, str):
            return None
        name = self._hardware_of(token)
        device = self._devices.get(name)
        if device is None and name.startswith(SANDBOX_PREFIX):
            device = self._devices[name] = Device()
        return device if device is not None and device.valid else None

    def _hardware_of(self, token: str) -> str:
        name = device_name(token)
        return self._hardware.get(name, name)


def device_name(token: str) -> str:
    """Return a canonical name for a token in any encoding.

    Phones send base64 or base64url, and a server may convert one to the other. So `sandbox-1` may
    also arrive as `sandbox+1`, or as the base64 of either.
    """
    name = _to_base64url(token)
    if name.startswith(SANDBOX_PREFIX):
        return name
    try:
        decoded = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except (binascii.Error, ValueError):
        return name
    return decoded if decoded.startswith(SANDBOX_PREFIX) else name


def _to_base64url(token: str) -> str:
    return token.rstrip("=").replace("+", "-").replace("/", "_")


def _is_authorized(authorization: str) -> bool:
    """Whether the header has a JWT with the claims that Apple requires.

    The signature is not checked, because the sandbox does not have the signer's key.
    """
    scheme, _, token = authorization.partition(" ")
    header, claims = decode_unverified(token)
    now = time.time()
    issued_at, expires_at = claims.get("iat"), claims.get("exp", now + 1)
    return (
        scheme.lower() == "bearer"
        and header.get("alg") == "ES256"
        and is_nonempty_text(header.get("kid"))
        and is_nonempty_text(claims.get("iss"))
        and isinstance(issued_at, int | float)
        and now - JWT_LIFETIME_SECONDS <= issued_at <= now + CLOCK_SKEW_SECONDS
        and isinstance(expires_at, int | float)
        and expires_at > now
    )
