"""Tells an app's server what happened, as App Store Server Notifications V2, and remembers it.

Once by itself: Apple's own retries, an hour and more apart, come when a control asks for them.
"""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.apple.storekit.certificates import Chain
from sandbox.apple.storekit.payloads import Transaction, about_app, app_transaction, without_none
from sandbox.apple.storekit.signing import sign
from sandbox.apple.storekit.store import Store
from sandbox.environment import ServedApp
from sandbox.times import now_in_milliseconds

ATTEMPT_SECONDS = 15.0
MOST_ATTEMPTS = 6
# About all that a customer buys, and no purchase.
ABOUT_THE_APP = ("RESCIND_CONSENT",)
SUCCESS, NO_RESPONSE = "SUCCESS", "NO_RESPONSE"


@dataclass
class Notification:
    uuid: str
    type: str
    subtype: str | None
    environment: str
    signed_at: int
    app_transaction_id: str | None
    """Whose; None where it is about nobody's purchase."""
    payload: dict[str, Any]
    signed_payload: str
    attempts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def has_arrived(self) -> bool:
        return any(one["sendAttemptResult"] == SUCCESS for one in self.attempts)

    def note_attempt(self, result: str) -> None:
        attempt = {"attemptDate": now_in_milliseconds(), "sendAttemptResult": result}
        self.attempts = [*self.attempts, attempt][-MOST_ATTEMPTS:]

    def as_record(self) -> dict[str, Any]:
        return {"signedPayload": self.signed_payload, "sendAttempts": self.attempts}


class Notifications:
    def __init__(self, *, store: Store, chain: Chain, app: ServedApp) -> None:
        self._store = store
        self._chain = chain
        self._app = app
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=ATTEMPT_SECONDS
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

    def write_test(self, environment: str, *, at: int) -> Notification:
        return self._write(
            "TEST",
            None,
            about={},
            part="data",
            environment=environment,
            bundle_id=self._app.bundle_id,
            customer=None,
            at=at,
            override={},
        )

    def write(
        self,
        notification_type: str,
        subtype: str | None,
        *,
        transaction: Transaction,
        at: int,
        reason: str | None = None,
        override: dict[str, Any] | None = None,
    ) -> Notification:
        """Signed and in the history from now on; `deliver` or `lose` says what became of it."""
        is_about_app = notification_type in ABOUT_THE_APP
        about = (
            self._about_download(transaction, at=at)
            if is_about_app
            else self._about_purchase(transaction, at=at)
        )
        if reason:
            about["consumptionRequestReason"] = reason
        return self._write(
            notification_type,
            subtype,
            about=about,
            part="appData" if is_about_app else "data",
            environment=transaction.environment,
            bundle_id=transaction.bundle_id,
            customer=transaction.app_transaction_id,
            at=at,
            override=override or {},
        )

    def _about_purchase(self, transaction: Transaction, *, at: int) -> dict[str, Any]:
        about: dict[str, Any] = {
            "signedTransactionInfo": sign(transaction.payload(signed_at=at), self._chain)
        }
        if subscription := self._store.find_subscription(transaction):
            renewal = subscription.renewal.payload(signed_at=at)
            about |= {
                "signedRenewalInfo": sign(renewal, self._chain),
                "status": subscription.status(at),
            }
        return about

    def _about_download(self, transaction: Transaction, *, at: int) -> dict[str, Any]:
        customer = transaction.app_transaction_id
        stated = app_transaction(
            self._app, transaction.environment, app_transaction_id=customer, at=at
        )
        return {"signedAppTransactionInfo": sign(stated, self._chain)}

    def deliver_soon(self, notification: Notification) -> None:
        task = asyncio.create_task(self.deliver(notification))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(self, notification: Notification) -> int | None:
        """The status it was answered with; None where nobody answered."""
        if self.url is None:
            return None
        status, result = await self._attempt(self.url, notification.signed_payload)
        notification.note_attempt(result)
        return status

    def lose(self, notification: Notification) -> None:
        """It was sent and nobody was there."""
        notification.note_attempt(NO_RESPONSE)

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
        is_taken = 200 <= response.status_code <= 206
        return response.status_code, SUCCESS if is_taken else "UNSUCCESSFUL_HTTP_RESPONSE_CODE"

    def _write(
        self,
        notification_type: str,
        subtype: str | None,
        *,
        about: dict[str, Any],
        part: str,
        environment: str,
        bundle_id: str,
        customer: str | None,
        at: int,
        override: dict[str, Any],
    ) -> Notification:
        notification_uuid = str(uuid.uuid4())
        stated = {
            "notificationType": notification_type,
            "subtype": subtype,
            "notificationUUID": notification_uuid,
            "version": "2.0",
            "signedDate": at,
            part: about_app(self._app, environment, bundle_id=bundle_id) | about,
        }
        payload = without_none(stated | override)
        self._sent[notification_uuid] = written = Notification(
            uuid=notification_uuid,
            type=notification_type,
            subtype=subtype,
            environment=environment,
            signed_at=at,
            app_transaction_id=customer,
            payload=payload,
            signed_payload=sign(payload, self._chain),
        )
        return written
