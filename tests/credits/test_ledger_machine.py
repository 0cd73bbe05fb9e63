"""Any order of moves against a model that fits in a few lines: what each lot still holds."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from credits import services
from credits.errors import AccountSuspended, InsufficientCredits
from credits.services import Source
from tests.credits.purses import NOW, Purse

AMOUNTS = st.integers(1, 30)


class ModelLot:
    def __init__(self, granted, kept, expires_day):
        self.granted, self.remaining, self.expires_day = granted, kept, expires_day


class Ledger(RuleBasedStateMachine):
    """Each run is one wallet, in a transaction that is rolled back at its end."""

    jobs = Bundle("jobs")
    purchases = Bundle("purchases")

    def __init__(self):
        super().__init__()
        self.block = transaction.atomic()
        self.block.__enter__()
        self.purse = Purse()
        self.lots = []
        self.debt = 0
        self.day = 0
        self.suspended = False
        self.charged = {}  # job: [(lot, amount), …]
        self.refunded = set()
        self.bought = {}  # transaction: lot
        self.revoked = set()

    def teardown(self):
        try:
            assert self.purse.adds_up()
        finally:
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    # --- the model ---

    @property
    def balance(self):
        return sum(lot.remaining for lot in self.lots)

    def keep(self, amount, expires_day=None):
        repaid = min(self.debt, amount)
        self.debt -= repaid
        lot = ModelLot(amount, amount - repaid, expires_day)
        self.lots.append(lot)
        return lot

    def spend(self, amount):
        never = float("inf")
        touched = []
        in_order = sorted(
            enumerate(self.lots),
            key=lambda item: (item[1].expires_day if item[1].expires_day is not None else never,
                              item[0]),
        )  # fmt: skip
        for _, lot in in_order:
            part = min(lot.remaining, amount)
            lot.remaining -= part
            amount -= part
            if part:
                touched.append((lot, part))
        return touched

    # --- the moves ---

    @rule(target=purchases, amount=AMOUNTS)
    def buy(self, amount):
        transaction_id = self.purse.buy(amount)
        self.bought[transaction_id] = self.keep(amount)
        return transaction_id

    @rule(amount=AMOUNTS, days=st.integers(1, 4))
    def promote(self, amount, days):
        day = self.day + days
        self.purse.promote(amount, days=day)
        self.keep(amount, day)

    @rule(target=jobs, amount=AMOUNTS)
    def charge(self, amount):
        job_id = uuid4()
        if self.suspended:
            with pytest.raises(AccountSuspended):
                self.purse.charge(amount)
        elif self.debt or amount > self.balance:
            with pytest.raises(InsufficientCredits):
                self.purse.charge(amount)
        else:
            self.purse.charge(amount, job_id=job_id)
            self.charged[job_id] = self.spend(amount)
        return job_id

    @rule(job_id=jobs)
    def refund(self, job_id):
        if job_id not in self.charged:  # it was refused
            return
        self.purse.refund(job_id)
        if job_id in self.refunded:
            return
        self.refunded.add(job_id)
        total = sum(part for _, part in self.charged[job_id])
        self.debt -= min(self.debt, total)
        # Which of its lots pays the debt is the ledger's choice; the total is not.
        for lot_id, change in self.purse.entries[-1].lots:
            lot = self.lot_by_id(lot_id)
            assert change <= next(part for mine, part in self.charged[job_id] if mine is lot)
            lot.remaining += change

    @rule(change=st.integers(-20, 20).filter(bool))
    def adjust(self, change):
        if -change > self.balance:
            with pytest.raises(InsufficientCredits):
                self.purse.adjust(change)
            return
        self.purse.adjust(change)
        if change > 0:
            self.keep(change)
        else:
            self.spend(-change)

    @rule(transaction_id=purchases)
    def take_back(self, transaction_id):
        self.purse.take_back(transaction_id)
        if transaction_id in self.revoked:
            return
        self.revoked.add(transaction_id)
        lot = self.bought[transaction_id]
        self.debt += lot.granted - lot.remaining
        lot.remaining = 0

    @rule()
    def a_day_passes(self):
        self.day += 1
        services.lapse_expired(now=NOW + timedelta(days=self.day))
        for lot in self.lots:
            if lot.expires_day is not None and lot.expires_day <= self.day:
                lot.remaining = 0

    @rule(transaction_id=purchases)
    def the_purchase_arrives_again(self, transaction_id):
        self.purse.grant(99, source=Source.PURCHASE, transaction_id=transaction_id)

    @rule()
    def suspend_or_resume(self):
        change = services.resume if self.suspended else services.suspend
        change(user_id=self.purse.user_id)
        self.suspended = not self.suspended

    @rule()
    def become_part_of_an_account(self):
        guest, account = self.purse, Purse()
        users = {"from_user_id": guest.user_id, "into_user_id": account.user_id}
        if self.suspended:
            with pytest.raises(AccountSuspended):
                services.merge(**users, now=NOW)
            return
        for _ in range(2):
            services.merge(**users, now=NOW)
        assert (guest.balance, guest.debt, guest.lots) == (0, 0, [])
        assert guest.adds_up()
        self.purse = account

    # --- what always holds ---

    @invariant()
    def the_wallet_is_as_the_model_says(self):
        assert (self.purse.balance, self.purse.debt) == (self.balance, self.debt)
        assert self.purse.lots == [lot.remaining for lot in self.lots]
        assert services.balance_of(self.purse.user_id).lifetime_total == sum(
            lot.granted for lot in self.lots
        )

    def lot_by_id(self, lot_id):
        ids = [str(lot.id) for lot in self.purse.wallet.lots.order_by("id")]
        return self.lots[ids.index(lot_id)]


def test_any_order_of_moves_ends_where_a_simple_model_does(db):
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
