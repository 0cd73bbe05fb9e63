"""Proving, before a customer does, that money can come in: keys, certificates, the webhook.

What is asked of Apple here changes nothing, but for a test notification that we ask it to send.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from billing.appstore import client, verifier
from billing.appstore.payloads import Unreadable
from billing.errors import StoreUnavailable
from billing.models import Environment, Notification

ARRIVED = "SUCCESS"
LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Proof:
    """One thing that was looked at; `detail` says how it is, or what is wrong."""

    what: str
    ok: bool
    detail: str


def prove(*, patience_seconds: float) -> Iterator[Proof]:
    """Look at one thing after the other. Waits up to `patience_seconds` for each test notification.

    Apple answers for an environment only once the app has one there: before the first release,
    production does not.
    """
    root = _root()
    yield root
    if root.ok:
        for name in settings.APPSTORE_ENVIRONMENTS:
            yield from _prove(Environment(name), patience_seconds=patience_seconds)


def _root() -> Proof:
    try:
        verifier.root_certificate()
    except verifier.WrongRoot as problem:
        return Proof("root certificate", False, str(problem))
    return Proof("root certificate", True, settings.APPSTORE_ROOT_CERTIFICATE or "Apple's own")


def _prove(environment: Environment, *, patience_seconds: float) -> Iterator[Proof]:
    key = f"{environment}: key"
    try:
        token = client.request_test_notification(environment)
        yield Proof(key, True, "Apple takes it")
        told = _wait_for(environment, token, patience_seconds=patience_seconds)
    except (StoreUnavailable, client.Refused) as problem:
        yield Proof(key, False, str(problem))
        return
    webhook = f"{environment}: webhook"
    if told is None:
        yield Proof(webhook, False, f"Apple sent nothing within {patience_seconds:g} s")
        return
    yield Proof(webhook, told.results[-1] == ARRIVED, ", ".join(told.results))
    yield from _prove_signature(environment, told)


def _wait_for(
    environment: Environment, token: str, *, patience_seconds: float
) -> client.TestNotification | None:
    give_up_at = time.monotonic() + patience_seconds
    while (told := client.find_test_notification(environment, token)) is None:
        if time.monotonic() > give_up_at:
            return None
        time.sleep(LOOK_EVERY_SECONDS)
    return told


def _prove_signature(environment: Environment, told: client.TestNotification) -> Iterator[Proof]:
    certificates = f"{environment}: certificates"
    try:
        notice = verifier.read_notification(told.signed_payload, online=True)
    except (verifier.NotGenuine, verifier.NotVerified, Unreadable) as problem:
        yield Proof(certificates, False, str(problem))
        return
    yield Proof(certificates, True, "Apple's signature holds, and its certificates do")
    is_kept = Notification.objects.filter(notification_uuid=notice.notification_uuid).exists()
    yield Proof(
        f"{environment}: stored",
        is_kept,
        "the notification is here" if is_kept else "it went to another server, or was refused",
    )
