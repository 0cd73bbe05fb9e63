"""A wallet to move credits in, in the words of the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from django.utils import timezone

from accounts.models import User
from credits import ledger_check, services
from credits.models import LedgerEntry, Lot, Wallet
from credits.services import Source

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class TestWallet:
    """One user's wallet, with a method for each function of credits.services."""

    __test__ = False  # pytest collects no tests from here

    def __init__(self, *, credits: int = 0, now: datetime = NOW) -> None:
        self.now = now
        self.user_id = User.objects.create_guest(now=timezone.now()).id
        User.objects.filter(id=self.user_id).update(welcomed_at=now)
        self.wallet_id = services.open_wallet(user_id=self.user_id)
        if credits:
            self.grant(credits)

    def grant(self, amount: int, *, source: Source = Source.WELCOME, days: int | None = None,
              transaction_id: str | None = None) -> LedgerEntry:  # fmt: skip
        return services.grant(
            user_id=self.user_id,
            amount=amount,
            source=source,
            reason="test",
            now=self.now,
            expires_at=self.now + timedelta(days=days) if days is not None else None,
            transaction_id=transaction_id,
        )

    def buy(self, amount: int) -> str:
        """A purchase; returns the store's transaction id."""
        transaction_id = str(uuid4())
        self.grant(amount, source=Source.PURCHASE, transaction_id=transaction_id)
        return transaction_id

    def promote(self, amount: int, *, days: int) -> LedgerEntry:
        return self.grant(amount, source=Source.PROMOTION, days=days)

    def charge(self, amount: int, *, job_id: UUID | None = None) -> UUID:
        """Pay a job; returns the job's id."""
        job_id = job_id or uuid4()
        wallet = services.lock_wallet(user_id=self.user_id)
        services.charge(wallet=wallet, amount=amount, job_id=job_id, now=self.now)
        return job_id

    def refund(self, job_id: UUID, *, fee: int = 0) -> LedgerEntry:
        """Of a job that failed."""
        return services.refund(
            user_id=self.user_id, job_id=job_id, reason="generation failed", now=self.now, fee=fee
        )

    def cancel(self, job_id: UUID, *, fee: int = 0) -> LedgerEntry:
        """The refund of a job that its user took back."""
        return services.refund(
            user_id=self.user_id,
            job_id=job_id,
            reason="generation cancelled",
            now=self.now,
            fee=fee,
            cancelled=True,
        )

    def adjust(self, change: int) -> LedgerEntry:
        return services.adjust(
            user_id=self.user_id,
            change=change,
            reason="goodwill",
            acting_user_id=uuid4(),
            now=self.now,
        )

    def claw_back(self, transaction_id: str, **share: int) -> LedgerEntry | None:
        return services.claw_back(
            transaction_id=transaction_id, reason="store refund", now=self.now, **share
        )

    def reverse_clawback(self, transaction_id: str) -> LedgerEntry | None:
        return services.reverse_clawback(
            transaction_id=transaction_id, reason="store refund reversed", now=self.now
        )

    def redeem(self, code: str) -> services.Redeemed:
        return services.redeem(user_id=self.user_id, code=code, now=self.now)

    @property
    def balance(self) -> int:
        return services.balance_of(self.user_id).balance

    @property
    def debt(self) -> int:
        return services.balance_of(self.user_id).debt

    @property
    def lots(self) -> list[int]:
        """What is left in each lot, in the order in which they came."""
        return list(
            Lot.objects.filter(wallet_id=self.wallet_id)
            .order_by("id")
            .values_list("remaining", flat=True)
        )

    @property
    def entries(self) -> list[LedgerEntry]:
        return list(LedgerEntry.objects.filter(wallet_id=self.wallet_id).order_by("number"))

    @property
    def row(self) -> Wallet:
        return Wallet.objects.get(id=self.wallet_id)

    def is_balanced(self) -> bool:
        return not [d for d in ledger_check.find_discrepancies() if d.wallet_id == self.wallet_id]
