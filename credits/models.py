"""Wallets, lots and the append-only ledger.

Only credits.services changes these tables, under the wallet's row lock. The database enforces the
invariants: each constraint is named after the mistake that it prevents.
"""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from rendio.common.ids import uuid7


class WalletState(models.TextChoices):
    OPEN = "open"  # spends and receives
    SUSPENDED = "suspended"  # the user is banned: receives refunds, spends nothing
    CLOSED = "closed"  # the account was deleted or merged: receives refunds, spends nothing


class Source(models.TextChoices):
    """Where a lot came from."""

    WELCOME = "welcome"
    PURCHASE = "purchase"
    SUBSCRIPTION = "subscription"
    PROMOTION = "promotion"
    SUPPORT = "support"


# The customer paid for these lots.
PAID_SOURCES = (Source.PURCHASE, Source.SUBSCRIPTION)


# The prefix of transaction ids from Apple's sandbox (billing.models.Purchase.ledger_id).
SANDBOX_PREFIX = "sandbox:"


class Kind(models.TextChoices):
    """The kind of a ledger entry."""

    GRANT = "grant"  # a new lot
    CHARGE = "charge"  # the price of a job
    REFUND = "refund"  # the price of a job, back into its lots
    ADJUSTMENT = "adjustment"  # correction by support, up or down
    REVOCATION = "revocation", "Clawback"  # for a store refund; spent credits become debt
    REVERSAL = "reversal", "Clawback reversal"  # the store refund was reversed
    EXPIRY = "expiry"  # the rest of a lot at its expiry
    TRANSFER = "transfer"  # lots moved between wallets by a merge


class Wallet(models.Model):
    """One user's credits. Its row lock serializes all changes to them."""

    id = models.UUIDField("ID", primary_key=True, default=uuid4, editable=False)
    # Null after the account is deleted: the ledger stays.
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="wallet"
    )
    balance = models.IntegerField("balance (credits)", default=0)
    debt = models.IntegerField("debt (credits)", default=0)
    lifetime_total = models.IntegerField(
        "lifetime credits", default=0, help_text="All credits ever granted."
    )
    entry_count = models.IntegerField("ledger entries", default=0)
    state = models.CharField(max_length=10, choices=WalletState.choices, default=WalletState.OPEN)
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(balance__gte=0), name="wallet_balance_not_negative"),
            models.CheckConstraint(condition=Q(debt__gte=0), name="wallet_debt_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.balance} credits"


class Lot(models.Model):
    """Credits that were granted together and expire together."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="lots")
    source = models.CharField(max_length=12, choices=Source.choices)
    amount = models.IntegerField(
        "initial credits", help_text="Initial credits, after repayment of debt."
    )
    remaining = models.IntegerField("remaining credits")
    expires_at = models.DateTimeField(null=True, blank=True)
    transaction_id = models.CharField("transaction ID", max_length=64, null=True, blank=True)  # noqa: DJ001
    expired_amount = models.IntegerField(
        "expired credits",
        default=0,
        db_default=0,
        db_column="lapsed",
        help_text="Credits that expired unspent.",
    )
    # Clawed back for store refunds that were not reversed: from the lot, and as debt for credits
    # that had been spent.
    clawed_back = models.IntegerField(
        "credits clawed back", default=0, db_default=0, db_column="taken_back"
    )
    debt_from_clawback = models.IntegerField(
        "debt from clawback", default=0, db_default=0, db_column="owed"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)
    # A second welcome grant or code: a merge expired the rest. Only refunds of jobs still
    # return to the lot, within the limits of credits.services.superseded.
    superseded_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "credit lot"
        constraints = [
            # The rest was charged to jobs.
            models.CheckConstraint(
                condition=Q(
                    remaining__gte=0,
                    expired_amount__gte=0,
                    clawed_back__gte=0,
                    debt_from_clawback__gte=0,
                )
                & Q(amount__gte=F("remaining") + F("expired_amount") + F("clawed_back")),
                name="lot_holds_what_it_brought",
            ),
            models.CheckConstraint(
                condition=~Q(source=Source.PURCHASE) | Q(expires_at__isnull=True),
                name="lot_purchased_never_expires",
            ),
            models.UniqueConstraint(
                fields=["wallet"],
                condition=Q(source=Source.WELCOME, superseded_at__isnull=True),
                name="lot_one_welcome",
            ),
        ]
        indexes = [
            # Spendable lots, in the order of spending.
            models.Index(
                F("wallet"),
                F("expires_at").asc(nulls_last=True),
                F("id"),
                condition=Q(remaining__gt=0),
                name="lot_spendable",
            ),
            # Lots to expire.
            models.Index(
                fields=["expires_at"],
                condition=Q(remaining__gt=0, expires_at__isnull=False),
                name="lot_expiring",
            ),
            models.Index(
                fields=["transaction_id"],
                condition=Q(transaction_id__isnull=False),
                name="lot_by_transaction",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.remaining} of {self.amount} ({self.source})"


class LedgerEntry(models.Model):
    """One change of one wallet. Append-only: a trigger rejects updates and deletes."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries")
    number = models.IntegerField(
        "sequence number", help_text="Sequence number in the wallet, without gaps."
    )
    kind = models.CharField(max_length=12, choices=Kind.choices)
    change = models.IntegerField()
    balance_after = models.IntegerField()
    debt_change = models.IntegerField(default=0)
    debt_after = models.IntegerField(default=0)
    # [[lot id, change], …]: adds up to `change`.
    lots = models.JSONField(default=list)
    reason = models.CharField(max_length=200, blank=True)
    # Ids, not foreign keys: a job or a user may be deleted, the entry stays.
    job_id = models.UUIDField(null=True, blank=True)
    transaction_id = models.CharField("transaction ID", max_length=64, null=True, blank=True)  # noqa: DJ001
    actor_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            # Also serves pages of history, newest first: a backward scan.
            models.UniqueConstraint(fields=["wallet", "number"], name="entry_number"),
            models.UniqueConstraint(
                fields=["job_id"], condition=Q(kind=Kind.CHARGE), name="entry_one_charge_per_job"
            ),
            models.UniqueConstraint(
                fields=["job_id"], condition=Q(kind=Kind.REFUND), name="entry_one_refund_per_job"
            ),
            models.UniqueConstraint(
                fields=["transaction_id"],
                condition=Q(kind=Kind.GRANT),
                name="entry_one_grant_per_transaction",
            ),
            # A refund is written even if a fee keeps the whole price: it marks the job as refunded.
            models.CheckConstraint(
                condition=~Q(change=0) | ~Q(debt_change=0) | Q(kind=Kind.REFUND),
                name="entry_changes_something",
            ),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0, debt_after__gte=0),
                name="entry_never_below_zero",
            ),
            models.CheckConstraint(
                condition=~Q(kind=Kind.CHARGE) | Q(change__lt=0, job_id__isnull=False),
                name="entry_charge_takes_for_a_job",
            ),
            models.CheckConstraint(
                condition=~Q(kind=Kind.REFUND)
                | Q(change__gte=0, debt_change__lte=0, job_id__isnull=False),
                name="entry_refund_gives_for_a_job",
            ),
        ]
        indexes = [
            # A purchase's grant, clawbacks and reversals.
            models.Index(
                fields=["transaction_id"],
                condition=Q(transaction_id__isnull=False),
                name="entry_by_transaction",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.change:+d}"


class PromotionCode(models.Model):
    """A code that grants credits: how many, in which period, and how often."""

    id = models.UUIDField("ID", primary_key=True, default=uuid4, editable=False)
    # Normalized by credits.services.normalize_code.
    code = models.CharField(max_length=32, unique=True)
    credits = models.IntegerField("credits per redemption")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    max_redemptions = models.IntegerField(null=True, blank=True, help_text="Empty: no limit.")
    max_per_user = models.IntegerField("maximum per user", default=1)
    lot_days = models.IntegerField(
        "credits expire after (days)",
        null=True,
        blank=True,
        help_text="Days until unspent credits expire. Empty: never.",
    )
    is_active = models.BooleanField(default=True)
    redemption_count = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[A-Z0-9]{4,32}$"), name="code_can_be_typed"
            ),
            models.CheckConstraint(
                condition=Q(credits__gte=1, max_per_user__gte=1)
                & (Q(lot_days__isnull=True) | Q(lot_days__gte=1)),
                name="code_gives_something",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True)
                | Q(ends_at__isnull=True)
                | Q(starts_at__lt=F("ends_at")),
                name="code_starts_before_it_ends",
            ),
            # Never above the limit, also under concurrency.
            models.CheckConstraint(
                condition=Q(max_redemptions__isnull=True)
                | Q(redemption_count__lte=F("max_redemptions")),
                name="code_redeemed_within_its_limit",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Redemption(models.Model):
    """One redemption of a code. A merge moves it with the lots."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    code = models.ForeignKey(PromotionCode, on_delete=models.PROTECT, related_name="redemptions")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="redemptions")
    entry = models.OneToOneField(
        LedgerEntry,
        on_delete=models.PROTECT,
        related_name="redemption",
        help_text="The ledger entry of the grant.",
    )
    redeemed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.code_id} by {self.wallet_id}"


LEDGER_CHECK_ID = 1


class LedgerCheck(models.Model):
    """The result of the last verification of the ledger. One row."""

    id = models.SmallIntegerField(primary_key=True, default=LEDGER_CHECK_ID, editable=False)
    due_at = models.DateTimeField()
    balanced_at = models.DateTimeField(
        null=True, blank=True, db_column="proved_at", help_text="Last check without discrepancies."
    )
    checked_at = models.DateTimeField(null=True, blank=True, db_column="looked_at")
    discrepancies = models.IntegerField(default=0, db_column="differences")
    entry_count = models.BigIntegerField(default=0, db_column="entries")

    class Meta:
        db_table = "credits_ledgerproof"
        constraints = [
            models.CheckConstraint(condition=Q(id=LEDGER_CHECK_ID), name="proof_one_row")
        ]

    def __str__(self) -> str:
        return "Ledger: unbalanced" if self.discrepancies else "Ledger: balanced"


class IdempotencyRecord(models.Model):
    """The stored response to a request with an Idempotency-Key.

    Written in the transaction of the request: a request that fails leaves no record.
    """

    user_id = models.UUIDField()
    operation = models.CharField(max_length=40)
    key = models.UUIDField()
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    response = models.JSONField(db_column="answer")
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user_id", "operation", "key"], name="idempotency_one_per_key"
            )
        ]
        # Purge of expired records.
        indexes = [models.Index(fields=["expires_at"], name="idempotency_expiring")]

    def __str__(self) -> str:
        return f"{self.operation} {self.key}"
