"""Receivers of accounts' signals, in the sender's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.signals import account_deleted, users_merged
from billing.due_work import UPDATE_ACCOUNT_TOKENS
from billing.models import (
    AppAccountTokenUpdate,
    FraudScore,
    Notification,
    Purchase,
    UnconfirmedPurchase,
    UnreadablePayload,
)
from billing.services import fraud, sandbox_limit, subscriptions


def connect() -> None:
    users_merged.connect(transfer_purchases, dispatch_uid="billing")
    account_deleted.connect(delete_personal_data, dispatch_uid="billing")


def transfer_purchases(*, from_user_id: UUID, into_user_id: UUID, now: datetime, **_: Any) -> None:
    """Give the guest's purchases to the account, and schedule the update of Apple's token
    (lifecycle.purchases).
    """
    purchases = Purchase.objects.filter(user_id=from_user_id)
    named = purchases.filter(app_account_token=from_user_id)
    originals = named.values_list("environment", "original_transaction_id").distinct()
    AppAccountTokenUpdate.objects.bulk_create(
        [
            AppAccountTokenUpdate(
                environment=environment,
                original_transaction_id=original_transaction_id,
                user_id=into_user_id,
                created_at=now,
                due_at=now,
            )
            for environment, original_transaction_id in originals
        ],
        ignore_conflicts=True,
    )
    from_sandbox = sandbox_limit.sandbox_purchases_of(from_user_id)
    purchases.update(user_id=into_user_id)
    sandbox_limit.cap_after_merge(from_sandbox, into_user_id=into_user_id, now=now)
    _move_unconfirmed(from_user_id, into_user_id)
    UnreadablePayload.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    for user_id in (from_user_id, into_user_id):
        subscriptions.sync_tier(user_id, now=now)
        fraud.update_score(user_id, now=now)
    UPDATE_ACCOUNT_TOKENS.wake_workers()


def _move_unconfirmed(from_user_id: UUID, into_user_id: UUID) -> None:
    """Move them, except transactions that the account has named too."""
    theirs = UnconfirmedPurchase.objects.filter(user_id=into_user_id).values("transaction_id")
    guests = UnconfirmedPurchase.objects.filter(user_id=from_user_id)
    guests.filter(transaction_id__in=theirs).delete()
    guests.update(user_id=into_user_id)


def delete_personal_data(*, user_id: UUID, **_: Any) -> None:
    """Delete Apple's signed data. Purchases stay, because ledger entries refer to them.

    Later notifications about these purchases are still stored and applied: a refund claws back
    credits from the closed wallet, a new purchase waits for support (PendingReason.ACCOUNT_CLOSED).
    """
    bought = Purchase.objects.filter(user_id=user_id).values("transaction_id")
    notifications = Notification.objects.filter(
        transaction_id__in=bought, processed_at__isnull=False
    )
    notifications.update(signed_payload="")
    # An open payload may be a purchase, and support needs its content.
    sent = UnreadablePayload.objects.filter(user_id=user_id, closed_at__isnull=False)
    sent.update(signed_payload="", transaction_id="")
    AppAccountTokenUpdate.objects.filter(user_id=user_id).delete()
    UnconfirmedPurchase.objects.filter(user_id=user_id).delete()
    FraudScore.objects.filter(user_id=user_id).delete()
