"""Any order of moves against a model that fits on a page: what each lot holds, and what is owed."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from fractions import Fraction
from math import ceil, inf
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from credits import services
from credits.errors import AccountSuspended, CodeRefused, InsufficientCredits
from credits.services import CodeTerms, Source
from tests.credits.purses import NOW, Purse

AMOUNTS = st.integers(1, 30)
DAYS = st.integers(1, 4)
LIMIT = 60  # of what nobody paid for
CODES = {"ONCE": CodeTerms(credits=7, lot_days=2), "TWICE": CodeTerms(credits=5, max_per_user=2)}


class ModelLot:
    """`taken` and `owed`: by store refunds that were not reversed."""

    def __init__(self, granted, remaining, *, expires_day=None, paid=False):
        self.granted, self.remaining, self.paid = granted, remaining, paid
        self.expires_day = inf if expires_day is None else expires_day
        self.taken = self.owed = self.lapsed = 0
        self.revoked_day = None

    def lapse(self, amount):
        self.remaining -= amount
        self.lapsed += amount

    def live_on(self, *, since, day):
        """What comes back into it has the time that it had left when it went."""
        if self.expires_day <= day:
            self.expires_day = day + self.expires_day - since


class Ledger(RuleBasedStateMachine):
    """Each run is one person's wallet, in a transaction that is rolled back at its end."""

    jobs = Bundle("jobs")
    transactions = Bundle("transactions")

    def __init__(self):
        super().__init__()
        self.block = transaction.atomic()
        self.block.__enter__()
        for code, terms in CODES.items():
            services.make_code(code=code, terms=terms, now=NOW)
        self.purse = Purse()
        self.lots = []
        self.debt = 0
        self.day = 0
        self.lifetime = 0
        self.corrected = 0  # by support, down
        self.suspended = False
        self.charged = {}  # job: (day, [(lot, amount), …])
        self.refunded = set()
        self.brought = {}  # transaction: lot
        self.redeemed = []  # (code, lot)

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

    def keep(self, amount, *, days=None, paid=False, limited=True):
        repaid = min(self.debt, amount)
        self.debt -= repaid
        self.lifetime += amount
        expires_day = None if days is None else self.day + days
        lot = ModelLot(amount, amount - repaid, expires_day=expires_day, paid=paid)
        self.lots.append(lot)
        if limited and not paid:
            held = sum(lot.remaining for lot in self.lots if not lot.paid)
            lot.lapse(min(max(held - LIMIT, 0), lot.remaining))
        return lot

    def spend(self, amount):
        touched = []
        for lot in sorted(self.lots, key=lambda lot: lot.expires_day):  # the older of equals first
            part = min(lot.remaining, amount)
            lot.remaining -= part
            amount -= part
            if part:
                touched.append((lot, part))
        return touched

    # --- what comes ---

    @rule(target=transactions, amount=AMOUNTS)
    def buy(self, amount):
        transaction_id = self.purse.buy(amount)
        self.brought[transaction_id] = self.keep(amount, paid=True)
        return transaction_id

    @rule(target=transactions, amount=AMOUNTS, days=st.none() | DAYS)
    def renew(self, amount, days):
        """A month's allowance, which lapses at the next renewal or is kept."""
        transaction_id = str(uuid4())
        allowance = {"source": Source.SUBSCRIPTION, "transaction_id": transaction_id}
        self.purse.grant(amount, days=days, **allowance)
        self.brought[transaction_id] = self.keep(amount, days=days, paid=True)
        return transaction_id

    @rule(transaction_id=transactions)
    def a_transaction_arrives_again(self, transaction_id):
        self.purse.grant(99, source=Source.PURCHASE, transaction_id=transaction_id)

    @rule(amount=AMOUNTS, days=DAYS)
    def promote(self, amount, days):
        self.purse.promote(amount, days=days)
        self.keep(amount, days=days)

    @rule(code=st.sampled_from(list(CODES)))
    def redeem(self, code):
        if self.suspended:
            with pytest.raises(AccountSuspended):
                self.purse.redeem(code)
        elif [one for one, _ in self.redeemed].count(code) >= CODES[code].max_per_user:
            with pytest.raises(CodeRefused):
                self.purse.redeem(code)
        else:
            before = self.balance
            answer = self.purse.redeem(code)
            lot = self.keep(CODES[code].credits, days=CODES[code].lot_days)
            self.redeemed.append((code, lot))
            assert answer.credits_added == self.balance - before

    @rule(change=st.integers(-20, 20).filter(bool))
    def adjust(self, change):
        if -change > self.balance:
            with pytest.raises(InsufficientCredits):
                self.purse.adjust(change)
            return
        self.purse.adjust(change)
        if change > 0:
            self.keep(change, limited=False)
        else:
            self.spend(-change)
            self.corrected -= change

    # --- jobs ---

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
            self.charged[job_id] = self.day, self.spend(amount)
        return job_id

    @rule(job_id=jobs)
    def refund(self, job_id):
        if job_id not in self.charged:  # it was refused
            return
        self.purse.refund(job_id)
        if job_id in self.refunded:
            return
        self.refunded.add(job_id)
        day, parts = self.charged[job_id]
        self.debt -= min(self.debt, sum(part for _, part in parts))
        # Which of its lots pays the debt is the ledger's choice; the total is not.
        for lot_id, change in self.purse.entries[-1].lots:
            lot = self.lot_by_id(lot_id)
            assert change <= next(part for mine, part in parts if mine is lot)
            lot.remaining += change
            lot.live_on(since=day, day=self.day)

    # --- the store's refunds ---

    @rule(transaction_id=transactions, share=st.just(100_000) | st.integers(0, 100_000))
    def take_back(self, transaction_id, share):
        self.purse.take_back(transaction_id, milli_percent=share)
        lot = self.brought[transaction_id]
        nearest = ceil(Fraction(lot.granted * share, 100_000) - Fraction(1, 2))
        missing = nearest - lot.taken - lot.owed - lot.lapsed
        if missing > 0:
            taken = min(lot.remaining, missing)
            lot.remaining -= taken
            lot.taken += taken
            lot.owed += missing - taken
            self.debt += missing - taken
            lot.revoked_day = self.day

    @rule(transaction_id=transactions)
    def give_back(self, transaction_id):
        self.purse.give_back(transaction_id)
        lot = self.brought[transaction_id]
        if lot.revoked_day is None:
            return
        forgiven = min(self.debt, lot.owed)
        self.debt -= forgiven
        lot.remaining += lot.taken + lot.owed - forgiven
        lot.live_on(since=lot.revoked_day, day=self.day)
        lot.taken = lot.owed = 0
        lot.revoked_day = None

    # --- time, standing, another wallet ---

    @rule()
    def a_day_passes(self):
        self.day += 1
        self.purse.now = NOW + timedelta(days=self.day)
        services.lapse_expired(now=self.purse.now)
        for lot in self.lots:
            if lot.expires_day <= self.day:
                lot.lapse(lot.remaining)

    @rule()
    def suspend_or_resume(self):
        change = services.resume if self.suspended else services.suspend
        change(user_id=self.purse.user_id)
        self.suspended = not self.suspended

    @rule(codes=st.lists(st.sampled_from(list(CODES)), unique=True))
    def become_part_of_an_account(self, codes):
        guest, account = self.purse, Purse(now=self.purse.now)
        users = {"from_user_id": guest.user_id, "into_user_id": account.user_id}
        if self.suspended:
            with pytest.raises(AccountSuspended):
                services.merge(**users, now=guest.now)
            return
        for code in codes:
            account.redeem(code)
        for _ in range(2):
            services.merge(**users, now=guest.now)
        assert (guest.balance, guest.debt, guest.lots) == (0, 0, [])
        assert guest.adds_up()
        self.purse = account
        self.join(codes)

    def join(self, codes):
        """The account had redeemed these; what the guest had of them besides lapses."""
        used = Counter(codes)
        for code, lot in self.redeemed:
            used[code] += 1
            if used[code] > CODES[code].max_per_user:
                self.lifetime -= lot.remaining
                lot.lapse(lot.remaining)
        for code in codes:
            terms = CODES[code]
            expires_day = self.day + terms.lot_days if terms.lot_days else None
            lot = ModelLot(terms.credits, terms.credits, expires_day=expires_day)
            self.lots.append(lot)
            self.redeemed.append((code, lot))
            self.lifetime += terms.credits

    # --- what always holds ---

    @invariant()
    def the_wallet_is_as_the_model_says(self):
        assert (self.purse.balance, self.purse.debt) == (self.balance, self.debt)
        assert self.purse.lots == [lot.remaining for lot in self.lots]
        assert services.balance_of(self.purse.user_id).lifetime_total == self.lifetime

    @invariant()
    def nothing_came_from_nowhere(self):
        """What was granted is held, spent, lapsed, taken by support or taken back by the store."""
        spent = sum(
            part
            for job_id, (_, parts) in self.charged.items()
            if job_id not in self.refunded
            for _, part in parts
        )
        granted = sum(lot.granted - lot.lapsed - lot.taken - lot.owed for lot in self.lots)
        assert self.balance - self.debt == granted - spent - self.corrected

    def lot_by_id(self, lot_id):
        ids = [str(lot.id) for lot in self.purse.wallet.lots.order_by("id")]
        return self.lots[ids.index(lot_id)]


def test_any_order_of_moves_ends_where_a_simple_model_does(db, settings):
    settings.MAX_GRANTED_BALANCE = LIMIT

    run_state_machine_as_test(
        Ledger,
        settings=hypothesis_settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
