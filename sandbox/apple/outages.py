"""When one of Apple's services is down, on request."""

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException

from sandbox.fields import BadRequest, Fields

SERVICES = ("devicecheck", "auth", "storekit")


@dataclass
class Outage:
    status: int
    times_left: int | None


class Outages:
    def __init__(self) -> None:
        self._outages: dict[str, Outage] = {}

    def reset(self) -> None:
        self._outages.clear()

    def configure(self, fields: Fields) -> dict[str, Any]:
        """Start an outage, for the next `times` calls or until it is ended with `times: 0`."""
        fields.allow_only(("service", "status", "times"))
        service = fields.get_choice("service", SERVICES)
        status = fields.find_count("status", least=400, most=599)
        times = fields.find_count("times", least=0)
        if times == 0:
            if status is not None:
                raise BadRequest("times 0 ends the outage; it takes no status.")
            self._outages.pop(service, None)
            return {"service": service, "status": None, "times": 0}
        outage = self._outages[service] = Outage(status=status or 503, times_left=times)
        return {"service": service, "status": outage.status, "times": outage.times_left}

    def strike(self, service: str) -> None:
        """Raises the failure to answer with, and counts it, while the service is down."""
        outage = self._outages.get(service)
        if outage is None:
            return
        if outage.times_left is not None:
            outage.times_left -= 1
            if outage.times_left == 0:
                del self._outages[service]
        raise HTTPException(outage.status, "Service unavailable")
