"""update-credits: a phone names a transaction, and Apple confirms it.

Only data with Apple's signature counts, whether the phone or Apple sends it. Apple is called
outside of any transaction. If Apple does not answer, the phone gets 503 and retries, and a worker
retries too (lifecycle.purchases).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import OperationalError, transaction
from django.utils.translation import gettext as _
from psycopg.errors import LockNotAvailable
from rest_framework import serializers

from accounts.models import User
from billing.appstore import client, verifier
from billing.appstore.payloads import Transaction, Unreadable
from billing.errors import (
    InvalidTransaction,
    StoreUnavailable,
    TransactionClaimed,
    UnknownProduct,
    UnreadablePurchase,
)
from billing.models import NEEDS_REVIEW, PayloadKind, PendingReason, Purchase, UnconfirmedPurchase
from billing.services import purchases, unreadable
from billing.services.purchases import SyncResult
from credits import idempotency
from credits.errors import AccountSuspended
from credits.idempotency import IdempotentRequest, StoredResponse
from rendio.common.errors import InvalidInput, Refusal, RequestInProgress, Unauthorized

logger = structlog.get_logger(__name__)

# Transactions of one user that are retried while Apple is unavailable.
MAX_UNCONFIRMED = 50


def confirm_purchase(
    *,
    user_id: UUID,
    transaction_id: str | None,
    signed_transaction: str | None = None,
    idempotent_request: IdempotentRequest | None = None,
    now: datetime,
) -> StoredResponse:
    """Grant a transaction's credits, once, and return how many.

    Calls Apple if the transaction is new and unsigned. Raises InvalidTransaction, UnknownProduct,
    TransactionClaimed, StoreUnavailable, UnreadablePurchase, Unauthorized, AccountSuspended,
    InvalidInput if the two arguments name different transactions, IdempotencyKeyReused.
    """
    if idempotent_request and (answer := idempotency.find_response(idempotent_request, now=now)):
        return answer
    if signed_transaction:
        apple_transaction = _verify(signed_transaction, user_id=user_id, now=now)
        if transaction_id not in (None, apple_transaction.transaction_id):
            raise InvalidInput(fields={"transaction_id": [_("Does not match the signed value.")]})
        purchase = purchases.upsert_from_apple(apple_transaction, now=now)
    else:
        assert transaction_id  # noqa: S101 (one of the two is there)
        purchase = _find_known(transaction_id) or purchases.upsert_from_apple(
            _fetch(transaction_id, user_id=user_id, now=now), now=now
        )
    try:
        return _sync_and_respond(
            purchase, user_id=user_id, idempotent_request=idempotent_request, now=now
        )
    except OperationalError as error:
        # Timeout while waiting for the wallet's lock.
        if isinstance(error.__cause__, LockNotAvailable):
            raise RequestInProgress from None
        raise


def _verify(signed_transaction: str, *, user_id: UUID, now: datetime) -> Transaction:
    """Raises InvalidTransaction, and UnreadablePurchase for a payload that Apple signed and we
    cannot read. Apple is then asked for the transaction as well: its answer may be readable.
    """
    try:
        return verifier.read_transaction(signed_transaction)
    except verifier.NotGenuine as problem:
        logger.warning("purchase_not_genuine", problem=str(problem))
        raise InvalidTransaction from problem
    except Unreadable as problem:
        unreadable.store_unreadable(problem, kind=PayloadKind.TRANSACTION, user_id=user_id, now=now)
        if transaction_id := unreadable.find_transaction_id(problem.claims):
            _remember_unconfirmed(transaction_id, user_id=user_id, now=now)
        raise UnreadablePurchase from problem


def _find_known(transaction_id: str) -> Purchase | None:
    """Return the purchase if we have Apple's data already. Both of Apple's environments may use the
    same id: then Apple is asked which one it is.
    """
    known = Purchase.objects.filter(transaction_id=transaction_id)[:2]
    return known[0] if len(known) == 1 else None


def _fetch(transaction_id: str, *, user_id: UUID, now: datetime) -> Transaction:
    """Fetch the transaction from Apple. Raises StoreUnavailable or UnreadablePurchase after
    scheduling a retry.
    """
    try:
        apple_transaction = client.find_transaction(transaction_id)
    except StoreUnavailable:
        _remember_unconfirmed(transaction_id, user_id=user_id, now=now)
        raise
    except Unreadable as problem:
        unreadable.store_unreadable(
            problem,
            kind=PayloadKind.TRANSACTION,
            transaction_id=transaction_id,
            user_id=user_id,
            now=now,
        )
        _remember_unconfirmed(transaction_id, user_id=user_id, now=now)
        raise UnreadablePurchase from problem
    if apple_transaction is None:
        raise InvalidTransaction
    return apple_transaction


def _remember_unconfirmed(transaction_id: str, *, user_id: UUID, now: datetime) -> None:
    if UnconfirmedPurchase.objects.filter(user_id=user_id).count() >= MAX_UNCONFIRMED:
        return  # the phone retries
    UnconfirmedPurchase.objects.get_or_create(
        user_id=user_id,
        transaction_id=transaction_id,
        defaults={"created_at": now, "due_at": now},
    )


def _sync_and_respond(
    purchase: Purchase,
    *,
    user_id: UUID,
    idempotent_request: IdempotentRequest | None,
    now: datetime,
) -> StoredResponse:
    """Sync the ledger and store the response, in one transaction. A refusal is raised after the
    commit, so that the transaction's effects on others (its owner, a refund) stay.
    """
    with transaction.atomic(durable=True):
        synced = purchases.sync_ledger(purchase.id, now=now, claimant_id=user_id)
        refusal = _find_refusal(synced, user_id)
        # Pending review: after support releases the purchase, the same key must get a new response.
        needs_review = synced.purchase.pending_reason in NEEDS_REVIEW
        answer = StoredResponse(200, _update_credits_answer(synced, needs_review=needs_review))
        is_final = not (refusal or needs_review)
        if (
            is_final
            and idempotent_request
            and not idempotency.save_response(idempotent_request, answer, now=now)
        ):
            answer = idempotency.find_response(idempotent_request, now=now) or answer
    if refusal:
        logger.info("purchase_refused", purchase_id=str(purchase.id), refusal=refusal.type)
        raise refusal
    return answer


class UpdateCreditsAnswer(serializers.Serializer):
    success = serializers.ChoiceField(choices=[True])
    credits_added = serializers.IntegerField(min_value=0)
    credits_remaining = serializers.IntegerField(min_value=0)
    already_processed = serializers.BooleanField()


def _update_credits_answer(synced: SyncResult, *, needs_review: bool) -> dict[str, Any]:
    return {
        "success": True,
        "credits_added": synced.purchase.credits or 0,
        "credits_remaining": synced.balance,
        "already_processed": not synced.is_new and not needs_review,
    }


def _find_refusal(synced: SyncResult, user_id: UUID) -> Refusal | None:
    """Return why the phone does not get the credits, or None if it does."""
    purchase, owner = synced.purchase, synced.owner
    if owner is None or owner.id != user_id:
        caller = User.objects.get(id=user_id)
        return Unauthorized() if caller.closed_at else TransactionClaimed()
    if owner.closed_at:
        return Unauthorized()
    if owner.suspended_at:
        return AccountSuspended()
    if purchase.is_refunded:
        return InvalidTransaction()
    return UnknownProduct() if purchase.pending_reason == PendingReason.UNKNOWN_PRODUCT else None
