"""The sandbox's controls that the playground has buttons for. docs/sandbox.md has all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from rendio.common.outbound import http

CONTROL_SECONDS = (1.0, 5.0)
# Apple's name of a subscription's type.
SUBSCRIPTION = "Auto-Renewable Subscription"
# Fields of POST /control/provider, for every provider.
NO_FAULT = {"outcome": "ok", "queue_seconds": 0.5, "run_seconds": 1.5, "cancel_running": False}
FAULTS: dict[str, dict[str, Any]] = {
    "slow": {"run_seconds": 20, "cancel_running": True},
    "webhook-lost": {"outcome": "webhook_lost"},
    "video-fails": {"outcome": "error"},
    "content-refused": {"outcome": "content_policy"},
    "provider-down": {"outcome": "submit_503"},
    "store-down": {},
}
STORE_DOWN = "store-down"


class Unavailable(Exception):
    """The sandbox did not answer."""


@dataclass(frozen=True)
class Exchange:
    """One call to the sandbox, and its answer."""

    url: str
    sent: dict[str, Any]
    status: int
    answer: Any


def set_fault(name: str) -> list[Exchange]:
    """Begin one of FAULTS, and end all others. "": only end them. Raises Unavailable."""
    providers = NO_FAULT | FAULTS.get(name, {})
    is_store_down = name == STORE_DOWN
    outage = {"service": "storekit", **({} if is_store_down else {"times": 0})}
    return [
        *[
            _control("provider", {"provider": provider, **providers})
            for provider in settings.PROVIDERS
        ],
        _control("apple/outage", outage),
    ]


def buy(*, product_id: str, is_subscription: bool, user_id: str) -> list[Exchange]:
    """Make a purchase in the sandbox's App Store. Raises Unavailable."""
    purchase: dict[str, Any] = {"product_id": product_id, "app_account_token": user_id}
    if is_subscription:
        purchase["type"] = SUBSCRIPTION
    return [_control("apple/purchase", purchase)]


def _control(path: str, fields: dict[str, Any]) -> Exchange:
    url = f"{settings.SANDBOX_URL}/control/{path}"
    try:
        response = http.request("POST", url, json=fields, timeout=CONTROL_SECONDS)
    except (http.NotSent, http.NoAnswer) as error:
        raise Unavailable from error
    return Exchange(url=url, sent=fields, status=response.status, answer=response.json())
