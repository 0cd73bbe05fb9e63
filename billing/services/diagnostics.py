"""`manage.py check_appstore`: check keys, certificates and the webhook before a customer depends on
them.

Nothing changes at Apple, apart from a test notification that we request.
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

DELIVERED = "SUCCESS"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class CheckResult:
    """The result of one check; `detail` gives the state or the fault."""

    what: str
    ok: bool
    detail: str


def run_checks(*, timeout_seconds: float) -> Iterator[CheckResult]:
    """Run one check after the other. Waits up to `timeout_seconds` for each test notification.

    Apple answers for an environment only once the app exists there: production answers only after
    the first release.
    """
    root = _check_root_certificate()
    yield root
    if root.ok:
        for name in settings.APPSTORE_ENVIRONMENTS:
            yield from _check_environment(Environment(name), timeout_seconds=timeout_seconds)


def _check_root_certificate() -> CheckResult:
    try:
        verifier.root_certificate()
    except verifier.WrongRoot as problem:
        return CheckResult("root certificate", False, str(problem))
    return CheckResult(
        "root certificate", True, settings.APPSTORE_ROOT_CERTIFICATE or "Apple's own"
    )


def _check_environment(
    environment: Environment, *, timeout_seconds: float
) -> Iterator[CheckResult]:
    key = f"{environment}: key"
    try:
        token = client.request_test_notification(environment)
        yield CheckResult(key, True, "accepted by Apple")
        notification = _wait_for_test_notification(
            environment, token, timeout_seconds=timeout_seconds
        )
    except (StoreUnavailable, client.Rejected) as problem:
        yield CheckResult(key, False, str(problem))
        return
    webhook = f"{environment}: webhook"
    if notification is None:
        yield CheckResult(webhook, False, f"Apple sent nothing within {timeout_seconds:g} s")
        return
    yield CheckResult(
        webhook, notification.results[-1] == DELIVERED, ", ".join(notification.results)
    )
    yield from _check_signature(environment, notification)


def _wait_for_test_notification(
    environment: Environment, token: str, *, timeout_seconds: float
) -> client.TestNotification | None:
    give_up_at = time.monotonic() + timeout_seconds
    while (notification := client.find_test_notification(environment, token)) is None:
        if time.monotonic() > give_up_at:
            return None
        time.sleep(POLL_SECONDS)
    return notification


def _check_signature(
    environment: Environment, notification: client.TestNotification
) -> Iterator[CheckResult]:
    certificates = f"{environment}: certificates"
    try:
        decoded = verifier.read_notification(notification.signed_payload, online=True)
    except (verifier.NotGenuine, verifier.VerificationUnavailable, Unreadable) as problem:
        yield CheckResult(certificates, False, str(problem))
        return
    yield CheckResult(certificates, True, "Apple's signature and certificates are valid")
    is_kept = Notification.objects.filter(notification_uuid=decoded.notification_uuid).exists()
    yield CheckResult(
        f"{environment}: stored",
        is_kept,
        "the notification was stored" if is_kept else "it went to another server, or was refused",
    )
