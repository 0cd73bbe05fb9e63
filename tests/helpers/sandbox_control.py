"""The sandbox's controls: what the outside world answers, and what it was asked."""

from __future__ import annotations

import json
import os
from typing import Any

import urllib3

JSON = {"Content-Type": "application/json"}


class Sandbox:
    """The outside world's controls."""

    # Half the time of requests, and nearly every test asks twice.
    _http = urllib3.PoolManager(maxsize=64)
    is_scripted = False
    """Whether a control has been used since the last reset."""

    def __init__(self) -> None:
        self.url = os.environ["SANDBOX_URL"]

    def reset(self) -> None:
        self.control("reset")
        Sandbox.is_scripted = False

    def mark_device(self, device_token: str) -> None:
        """Set the bit of a device that had a welcome grant. Concerns no other phone."""
        self._post("apple/device", {"device_token": device_token, "bit0": True, "bit1": False})

    def control(self, path: str, **body: Any) -> Any:
        Sandbox.is_scripted = True
        return self._post(path, body)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        url = f"{self.url}/control/{path}"
        # By ASCII alone, also for half a character.
        answer = self._http.request("POST", url, body=json.dumps(body), headers=JSON, timeout=30)
        assert answer.status == 200, answer.data
        return answer.json()

    def provider(self, **body: Any) -> None:
        self.control("provider", **{"provider": "fal"} | body)

    def requests(self, provider: str = "fal") -> list[dict[str, Any]]:
        return self._list("requests", provider=provider)

    def revoked(self) -> list[dict[str, Any]]:
        """The tokens whose revocation Apple was asked for."""
        return self._list("apple/revoked", field="tokens")

    def pushes(self, token: str | None = None) -> list[dict[str, Any]]:
        """What APNs was sent, to all phones or to one."""
        return [push for push in self._list("pushes") if token in (None, push["token"])]

    def jobs(self, provider: str = "fal") -> list[dict[str, Any]]:
        return self._list("jobs", provider=provider)

    def _list(self, path: str, *, field: str | None = None, **query: str) -> list[dict[str, Any]]:
        url = f"{self.url}/control/{path}"
        answer = self._http.request("GET", url, fields=query, timeout=30)
        found: list[dict[str, Any]] = answer.json()[field or path]
        return found
