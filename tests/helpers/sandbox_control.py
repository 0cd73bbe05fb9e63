"""The sandbox's controls: what the outside world answers, and what it was asked."""

from __future__ import annotations

import os
from typing import Any

import requests


class Sandbox:
    """The outside world's controls."""

    _http = requests.Session()
    _http.trust_env = False

    def __init__(self) -> None:
        self.url = os.environ["SANDBOX_URL"]

    def control(self, path: str, **body: Any) -> Any:
        answer = self._http.post(f"{self.url}/control/{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def provider(self, **body: Any) -> None:
        self.control("provider", **{"provider": "fal"} | body)

    def requests(self, provider: str = "fal") -> list[dict[str, Any]]:
        answer = requests.get(
            f"{self.url}/control/requests", params={"provider": provider}, timeout=30
        )
        found: list[dict[str, Any]] = answer.json()["requests"]
        return found

    def revoked(self) -> list[dict[str, Any]]:
        """The tokens whose revocation Apple was asked for."""
        answer = requests.get(f"{self.url}/control/apple/revoked", timeout=30)
        found: list[dict[str, Any]] = answer.json()["tokens"]
        return found

    def pushes(self, token: str | None = None) -> list[dict[str, Any]]:
        """What APNs was sent, to all phones or to one."""
        sent = requests.get(f"{self.url}/control/pushes", timeout=30).json()["pushes"]
        return [push for push in sent if token in (None, push["token"])]

    def jobs(self, provider: str = "fal") -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/control/jobs", params={"provider": provider}, timeout=30)
        found: list[dict[str, Any]] = answer.json()["jobs"]
        return found
