"""A phone that calls the API in this process."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID, uuid4

from django.test import Client
from django.utils import timezone

from accounts.models import WelcomeClaim
from accounts.serializers import session_json
from accounts.services import devices, welcome
from accounts.services.installations import InstallationProof
from tests.helpers.model_ids import SORA


def assert_refused(answer: Any, status: int, code: str) -> Any:
    """The answer is this refusal of the catalogue; gives its details for a closer look."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.content
    return answer.json()["error"]["details"]


class Phone:
    """A guest's phone: signs in and calls the API as the app does, in this process."""

    def __init__(self, client: Client | None = None) -> None:
        self.client = client or Client()
        self.device_id = str(uuid4())
        self.device_token = base64.b64encode(f"sandbox-{uuid4()}".encode()).decode()
        self.installation_secret = uuid4().hex
        self.session: dict[str, Any] = {}
        self.user_id: UUID | None = None
        self.language: str | None = None  # what the phone is set to, if it says

    @property
    def check_body(self) -> dict[str, Any]:
        """The body of this phone's device-check."""
        return {
            "device_id": self.device_id,
            "device_token": self.device_token,
            "installation_secret": self.installation_secret,
        }

    def sign_in(self) -> Phone:
        answer = self.post("device-check", self.check_body)
        assert answer.status_code == 200, answer.content
        self.session = answer.json()["session"]
        self.user_id = UUID(answer.json()["user_id"])
        return self

    def sign_in_without_apple(self) -> Phone:
        """As `sign_in` with its rows committed, by the second of its two transactions alone.

        A third of the cost: no call, no limits, no turn at the welcome. The caller marks the device
        at the sandbox.
        """
        now, device_id = timezone.now(), UUID(self.device_id)
        WelcomeClaim.objects.create(
            device_id=device_id,
            token_hash=welcome.hash_token(self.device_token),
            started_at=now,
            won_at=now,
            updates_in_doubt=1,
        )
        checked = devices.complete_device_check(
            device_id=device_id,
            device_token=self.device_token,
            proof=InstallationProof(self.installation_secret),
            welcome_status=welcome.WelcomeStatus.DUE,
            is_banned=False,
            now=now,
        )
        assert isinstance(checked, devices.CheckedDevice), checked
        self.session = session_json(checked.session)
        self.user_id = checked.user_id
        return self

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/v1/{path}", query, headers=self._headers())

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.post(
            f"/v1/{path}",
            body if body is not None else {},
            content_type="application/json",
            headers=self._headers() | {name.replace("_", "-"): v for name, v in headers.items()},
        )

    def delete(self, path: str, body: Any = None) -> Any:
        return self.client.delete(
            f"/v1/{path}",
            body if body is not None else {},
            content_type="application/json",
            headers=self._headers(),
        )

    def generate(self, *, key: str | None = None, **body: Any) -> Any:
        order = {"model_id": str(SORA), "prompt": "A red balloon over the sea"} | body
        return self.post("generate-video", order, Idempotency_Key=key or str(uuid4()))

    def register_for_pushes(self, **changes: str) -> str:
        """Gives the token, one that no phone has had."""
        token = uuid4().hex * 2
        body = {"token": token, "platform": "ios"} | changes
        assert self.post("register-push-token", body).status_code == 200
        return body["token"]

    def balance(self) -> int:
        remaining: int = self.get("get-user-credits").json()["credits_remaining"]
        return remaining

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Language": self.language} if self.language else {}
        if self.session:
            headers["Authorization"] = f"Bearer {self.session['access_token']}"
        return headers
