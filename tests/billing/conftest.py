"""Fixtures for the tests of billing: an App Store with purchases and notifications."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts.apple import identity_tokens
from billing.due_work import APPLY_NOTIFICATIONS
from billing.models import Notification, Purchase
from credits import ledger_check
from credits import services as credit_services
from tests.generation.conftest import running
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox

__all__ = ["running"]  # a fixture

TEN, FIFTY = "com.rendio.credits.10", "com.rendio.credits.50"
PREMIUM = "com.rendio.premium.monthly"


class AppStore:
    """The sandbox's App Store. A test delivers its notifications."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def buy(self, product_id: str = TEN, *, phone: Phone | None = None, **fields: Any) -> Any:
        """A purchase, which names the phone's user if there is one."""
        if phone:
            fields.setdefault("app_account_token", str(phone.user_id))
        purchase = {"product_id": product_id} | fields
        return self.sandbox.control("apple/purchase", **purchase)

    def subscribe(self, *, phone: Phone | None = None, **fields: Any) -> Any:
        """The first period of a subscription, or with original_transaction_id a further one."""
        purchase = {"product_id": PREMIUM, "type": "Auto-Renewable Subscription", "price": 9_990}
        return self.buy(phone=phone, **purchase | fields)

    def notify(self, notification_type: str, purchase: Any = None, **fields: Any) -> Any:
        if purchase:
            fields["transaction_id"] = purchase["transaction_id"]
        return self.sandbox.control("apple/notify", type=notification_type, deliver=False, **fields)

    def set_outage(self, **fields: Any) -> None:
        self.sandbox.control("apple/outage", service="storekit", **fields)

    def requests_to(self, path: str) -> list[Any]:
        """The requests below this path."""
        return [one for one in self.sandbox.requests("apple") if path in one["path"]]


@pytest.fixture
def store(sandbox: Sandbox) -> AppStore:
    return AppStore(sandbox)


def deliver(event: Any) -> Any:
    """Apple posts a notification to our webhook."""
    return post_notification(event["signed_payload"])


def post_notification(signed_payload: Any) -> Any:
    return Client().post(
        "/webhooks/app-store",
        {"signedPayload": signed_payload},
        content_type="application/json",
    )


def deliver_and_apply(event: Any) -> Notification:
    """Post a notification to our webhook, and apply it as a worker does."""
    answer = deliver(event)
    assert answer.status_code == 200, answer.content
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())
    notification = Notification.objects.get(notification_uuid=event["notification_uuid"])
    assert notification.processed_at, "it was not applied"
    return notification


def update_credits(phone: Phone, purchase: Any, **headers: str) -> Any:
    body = {"transaction_id": purchase["transaction_id"]}
    return phone.post("update-credits", body, **headers)


def sign_in(phone: Phone, sandbox: Sandbox, *, sub: str | None = None) -> str:
    """The phone's guest signs in with Apple: as this person, or as somebody new; gives who."""
    identity_tokens.keys.clear()
    sub, nonce = sub or f"001{uuid4().hex}", uuid4().hex
    tokens = sandbox.control(
        "apple/identity", sub=sub, nonce=hashlib.sha256(nonce.encode()).hexdigest()
    )
    answer = phone.post("merge-guest-to-user", tokens | {"nonce": nonce})
    assert answer.status_code == 200, answer.content
    phone.session = answer.json()["session"]
    phone.user_id = UUID(answer.json()["user_id"])
    return sub


def purchase_of(purchase: Any) -> Purchase:
    return Purchase.objects.get(transaction_id=purchase["transaction_id"])


def debt_of(phone: Phone) -> int:
    assert phone.user_id
    return credit_services.balance_of(phone.user_id).debt


def ledger_is_balanced() -> bool:
    return ledger_check.find_discrepancies() == []
