"""Transactions and subscriptions."""

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

from sandbox.apple.storekit.offers import OFFER_FIELDS
from sandbox.apple.storekit.payloads import SUBSCRIPTION, Renewal, Transaction

ACTIVE, EXPIRED, BILLING_RETRY, GRACE_PERIOD, REVOKED = STATUSES = (1, 2, 3, 4, 5)


@dataclass
class Subscription:
    """Transactions with the same original id. The latest one is current."""

    latest: Transaction
    renewal: Renewal
    period_milliseconds: int

    def status(self, now: int) -> int:
        renewal, expires_at = self.renewal, self.latest.expires_date or 0
        if self.latest.revocation_date is not None:
            return REVOKED
        if expires_at > now:
            return ACTIVE
        if (renewal.grace_period_expires_date or 0) > now:
            return GRACE_PERIOD
        return BILLING_RETRY if renewal.is_in_billing_retry_period else EXPIRED

    def end_period(self, at: int) -> None:
        """End the period at `at` if it would end later."""
        self.latest.expires_date = min(self.latest.expires_date or at, at)


NO_OFFER = dict.fromkeys(OFFER_FIELDS)


class Store:
    """Transactions of Sandbox and Production, each with its environment."""

    def __init__(self) -> None:
        # Ids are never repeated, even after a restart or reset, because apps remember them.
        self._ids = itertools.count(time.time_ns() // 1000)
        self._changes = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        self._transactions: dict[str, Transaction] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._app_transactions: dict[str, str] = {}
        self.consumption_calls: list[dict[str, Any]] = []
        """Statements of apps on disputed purchases."""

    def new_id(self) -> str:
        return str(next(self._ids))

    def app_transaction_id(self, customer: str) -> str:
        return self._app_transactions.setdefault(customer, self.new_id())

    def find(self, transaction_id: str) -> Transaction | None:
        return self._transactions.get(transaction_id)

    def find_subscription(self, transaction: Transaction) -> Subscription | None:
        return self._subscriptions.get(transaction.original_transaction_id)

    def transactions_of_customer(self, app_transaction_id: str) -> list[Transaction]:
        """Return the customer's transactions, least recently changed first."""
        found = [
            transaction
            for transaction in self._transactions.values()
            if transaction.app_transaction_id == app_transaction_id
        ]
        return sorted(found, key=lambda transaction: transaction.change)

    def transactions_of_subscription(self, original_transaction_id: str) -> list[Transaction]:
        return [
            transaction
            for transaction in self._transactions.values()
            if transaction.original_transaction_id == original_transaction_id
        ]

    def add(self, transaction: Transaction, *, renewal: dict[str, Any]) -> None:
        """Store a purchase. A subscription purchase starts or restarts the subscription.

        `renewal` has the renewal's attributes that the purchase does not determine.
        """
        self.record_change(transaction)
        if transaction.type != SUBSCRIPTION:
            return
        expires_at = transaction.expires_date or transaction.purchase_date
        self._subscriptions[transaction.original_transaction_id] = Subscription(
            latest=transaction,
            period_milliseconds=expires_at - transaction.purchase_date,
            renewal=Renewal(
                original_transaction_id=transaction.original_transaction_id,
                product_id=transaction.product_id,
                auto_renew_product_id=transaction.product_id,
                environment=transaction.environment,
                app_transaction_id=transaction.app_transaction_id,
                app_account_token=transaction.app_account_token,
                recent_subscription_start_date=transaction.purchase_date,
                renewal_date=expires_at,
                currency=transaction.currency,
                **renewal,
            ),
        )

    def extend(
        self, subscription: Subscription, *, purchased_at: int, **changes: Any
    ) -> Transaction:
        """Add a transaction for one more period of a subscription."""
        latest = subscription.latest
        expires_at = purchased_at + subscription.period_milliseconds
        changes = NO_OFFER | changes
        renewed = replace(
            latest,
            transaction_id=self.new_id(),
            web_order_line_item_id=self.new_id(),
            purchase_date=purchased_at,
            expires_date=expires_at,
            is_upgraded=None,
            **changes,
        )
        renewed.restore()
        subscription.latest = renewed
        subscription.renewal.product_id = renewed.product_id
        subscription.renewal.renewal_date = expires_at
        self.record_change(renewed)
        return renewed

    def record_change(self, transaction: Transaction) -> None:
        """Store the transaction as the most recently changed."""
        transaction.change = next(self._changes)
        self._transactions[transaction.transaction_id] = transaction
