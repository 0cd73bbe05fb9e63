"""App Store Server Notifications V2: creation, delivery and history.

Each notification is sent once. Apple's own retries, an hour or more apart, happen only on request
of a control.
"""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.apple.storekit.certificates import Chain
from sandbox.apple.storekit.payloads import (
    Transaction,
    app_fields,
    app_transaction_payload,
    without_none,
)
from sandbox.apple.storekit.signing import sign
from sandbox.apple.storekit.store import Store
from sandbox.environment import ServedApp
from sandbox.times import now_in_milliseconds

TIMEOUT_SECONDS = 15.0
MAX_ATTEMPTS = 6
# Notifications about the app and no purchase.
APP_EVENTS = ("RESCIND_CONSENT",)
SUCCESS, NO_RESPONSE = "SUCCESS", "NO_RESPONSE"


@dataclass
class Notification:
    uuid: str
    type: str
    subtype: str | None
    environment: str
    signed_at: int
    app_transaction_id: str | None
    """The customer. None for a test notification."""
    payload: dict[str, Any]
    signed_payload: str
    attempts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_delivered(self) -> bool:
        return any(attempt["sendAttemptResult"] == SUCCESS for attempt in self.attempts)

    def add_attempt(self, result: str) -> None:
        attempt = {"attemptDate": now_in_milliseconds(), "sendAttemptResult": result}
        self.attempts = [*self.attempts, attempt][-MAX_ATTEMPTS:]

    def as_json(self) -> dict[str, Any]:
        return {"signedPayload": self.signed_payload, "sendAttempts": self.attempts}


class Notifications:
    def __init__(self, *, store: Store, chain: Chain, app: ServedApp) -> None:
        self._store = store
        self._chain = chain
        self._app = app
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS
        )
        self._tasks: set[asyncio.Task[int | None]] = set()
        self.reset()

    def reset(self) -> None:
        self._sent: dict[str, Notification] = {}
        self.url: str | None = f"{self._app.public_url}/webhooks/app-store"

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._client.aclose()

    def find(self, notification_uuid: str) -> Notification | None:
        return self._sent.get(notification_uuid)

    def all(self) -> list[Notification]:
        return list(self._sent.values())

    def create_test(self, environment: str, *, at: int) -> Notification:
        return self._create(
            "TEST",
            None,
            data={},
            data_field="data",
            environment=environment,
            bundle_id=self._app.bundle_id,
            customer=None,
            at=at,
            override={},
        )

    def create(
        self,
        notification_type: str,
        subtype: str | None,
        *,
        transaction: Transaction,
        at: int,
        reason: str | None = None,
        override: dict[str, Any] | None = None,
    ) -> Notification:
        """Create a signed notification in the history. Call `deliver` or `record_loss` next."""
        is_app_event = notification_type in APP_EVENTS
        data = (
            self._app_data(transaction, at=at)
            if is_app_event
            else self._purchase_data(transaction, at=at)
        )
        if reason:
            data["consumptionRequestReason"] = reason
        return self._create(
            notification_type,
            subtype,
            data=data,
            data_field="appData" if is_app_event else "data",
            environment=transaction.environment,
            bundle_id=transaction.bundle_id,
            customer=transaction.app_transaction_id,
            at=at,
            override=override or {},
        )

    def _purchase_data(self, transaction: Transaction, *, at: int) -> dict[str, Any]:
        data: dict[str, Any] = {
            "signedTransactionInfo": sign(transaction.payload(signed_at=at), self._chain)
        }
        if subscription := self._store.find_subscription(transaction):
            renewal = subscription.renewal.payload(signed_at=at)
            data |= {
                "signedRenewalInfo": sign(renewal, self._chain),
                "status": subscription.status(at),
            }
        return data

    def _app_data(self, transaction: Transaction, *, at: int) -> dict[str, Any]:
        customer = transaction.app_transaction_id
        payload = app_transaction_payload(
            self._app, transaction.environment, app_transaction_id=customer, at=at
        )
        return {"signedAppTransactionInfo": sign(payload, self._chain)}

    def deliver_soon(self, notification: Notification) -> None:
        task = asyncio.create_task(self.deliver(notification))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(self, notification: Notification) -> int | None:
        """Send the notification. Returns the response's status, or None without a response."""
        if self.url is None:
            return None
        status, result = await self._attempt(self.url, notification.signed_payload)
        notification.add_attempt(result)
        return status

    def record_loss(self, notification: Notification) -> None:
        """Record a failed attempt without sending."""
        notification.add_attempt(NO_RESPONSE)

    async def _attempt(self, url: str, signed_payload: str) -> tuple[int | None, str]:
        try:
            response = await self._client.post(url, json={"signedPayload": signed_payload})
        except httpx.TimeoutException:
            return None, "TIMED_OUT"
        except httpx.RemoteProtocolError:
            return None, "PREMATURE_CLOSE"
        except httpx.HTTPError:
            return None, "SOCKET_ISSUE"
        # (Apple: Responding to App Store Server Notifications)
        is_success = 200 <= response.status_code <= 206
        return response.status_code, SUCCESS if is_success else "UNSUCCESSFUL_HTTP_RESPONSE_CODE"

    def _create(
        self,
        notification_type: str,
        subtype: str | None,
        *,
        data: dict[str, Any],
        data_field: str,
        environment: str,
        bundle_id: str,
        customer: str | None,
        at: int,
        override: dict[str, Any],
    ) -> Notification:
        notification_uuid = str(uuid.uuid4())
        payload = {
            "notificationType": notification_type,
            "subtype": subtype,
            "notificationUUID": notification_uuid,
            "version": "2.0",
            "signedDate": at,
            data_field: app_fields(self._app, environment, bundle_id=bundle_id) | data,
        }
        payload = without_none(payload | override)
        self._sent[notification_uuid] = notification = Notification(
            uuid=notification_uuid,
            type=notification_type,
            subtype=subtype,
            environment=environment,
            signed_at=at,
            app_transaction_id=customer,
            payload=payload,
            signed_payload=sign(payload, self._chain),
        )
        return notification
