"""A process that dies on the way from Apple's word to our ledger: the credits come, once.

A real process goes through the steps and dies at one of them; another finds what is due.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.due_work import APPLY_NOTIFICATIONS, SYNC_PURCHASES
from billing.models import Notification
from tests.billing.conftest import (
    TEN,
    deliver,
    ledger_is_balanced,
    purchase_of,
    update_credits,
)
from tests.helpers import fork_server
from tests.helpers.database import url_of_database
from tests.helpers.phone import Phone

STEPS = """
import os
from django.db import transaction
from django.utils import timezone
from billing.appstore import verifier
from billing.lifecycle import notification_handlers
from billing.models import Notification
from billing.services import purchases
from rendio.common.background.due_rows import claim_due
now = timezone.now()
notice = verifier.read_notification(os.environ["TEST_PAYLOAD"])
"""
RECORDED = "purchases.upsert_from_apple(notice.transaction, now=now)"
DIES = {
    "once the purchase is recorded": [RECORDED],
    "before the grant is committed": [
        f"purchase = {RECORDED}",
        "with transaction.atomic():",
        "    assert purchases.sync_ledger(purchase.id, now=now).is_new",
        "    os._exit(9)",
    ],
    "with the notification in hand": [
        "row = Notification.objects.filter(notification_uuid=notice.notification_uuid)",
        "assert claim_due(row, now=now, limit=1)",
    ],
    "before the notification is done": [
        "assert notification_handlers.handle(notice, now=now) == 'granted'"
    ],
}


def run_and_die(event, *lines):
    server = fork_server.application({**os.environ, "DATABASE_URL": url_of_database()})
    ended = server.run(
        STEPS + "\n".join([*lines, "os._exit(9)"]), TEST_PAYLOAD=event["signed_payload"]
    )
    assert ended.returncode == 9, ended.stderr


@pytest.mark.parametrize("moment", DIES)
def test_credits_are_granted_once_after_a_crash_at_any_point(committed, store, moment):
    phone = Phone().sign_in()
    purchase = store.buy(TEN, phone=phone)
    deliver(purchase)

    run_and_die(purchase, *DIES[moment])
    later = timezone.now() + timedelta(minutes=2)
    SYNC_PURCHASES.run_batch(now=later)
    APPLY_NOTIFICATIONS.run_batch(now=later)

    assert phone.balance() == 20
    assert purchase_of(purchase).credits == 10
    assert Notification.objects.get(notification_uuid=purchase["notification_uuid"]).processed_at
    assert update_credits(phone, purchase).json()["already_processed"] is True
    assert ledger_is_balanced()
