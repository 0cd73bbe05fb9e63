"""Scripted outages of Apple's services."""

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from sandbox.apple.storekit.errors import ApiError
from sandbox.connections import NoResponse
from sandbox.strict_body import BadRequest, StrictBody

STOREKIT = "storekit"
SERVICES = ("devicecheck", "auth", STOREKIT)
FAULT_FIELDS = ("status", "error_code", "hang")


class Hang(Exception):
    """The request never gets a response."""


async def handle_hang(_: Request, error: Exception) -> NoResponse:
    return NoResponse()


@dataclass
class Outage:
    status: int | None
    error_code: int | None
    """The App Store's error code, which contains the status."""
    times_left: int | None

    @classmethod
    def parse(cls, fields: StrictBody, *, times: int | None) -> "Outage":
        """Parse an outage. Default: status 503."""
        status = fields.find_count("status", minimum=400, maximum=599)
        error_code = fields.find_count("error_code", minimum=4_000_000, maximum=5_999_999)
        is_hanging = fields.find_flag("hang")
        if len([name for name in FAULT_FIELDS if fields.has(name)]) > 1:
            raise BadRequest(f"Give one of {', '.join(FAULT_FIELDS)}.")
        if error_code is None and not is_hanging:
            status = status or 503
        return cls(status=status, error_code=error_code, times_left=times)

    def failure(self) -> Exception:
        if self.error_code is not None:
            return ApiError(self.error_code)
        return Hang() if self.status is None else HTTPException(self.status, "Service unavailable")


class Outages:
    def __init__(self) -> None:
        self._outages: dict[str, Outage] = {}

    def reset(self) -> None:
        self._outages.clear()

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        """Start an outage for the next `times` calls, or until a call with `times: 0`."""
        fields.allow_only(("service", "times", *FAULT_FIELDS))
        service = fields.get_choice("service", SERVICES)
        times = fields.find_count("times", minimum=0)
        if fields.has("error_code") and service != STOREKIT:
            raise BadRequest(f"error_code is for {STOREKIT}: {service} has no numbers.")
        if times == 0:
            if given := [name for name in FAULT_FIELDS if fields.has(name)]:
                raise BadRequest(f"times 0 ends the outage; it takes no {given[0]}.")
            self._outages.pop(service, None)
            return {"service": service, "status": None, "times": 0}
        outage = self._outages[service] = Outage.parse(fields, times=times)
        return {"service": service, "status": outage.status, "times": outage.times_left}

    def raise_if_down(self, service: str) -> None:
        """Raise the scripted failure if the service is down, and count the call."""
        outage = self._outages.get(service)
        if outage is None:
            return
        if outage.times_left is not None:
            outage.times_left -= 1
            if outage.times_left == 0:
                del self._outages[service]
        raise outage.failure()
