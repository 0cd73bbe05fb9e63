"""Stateful test: any order of changes of credits, compared with a simple model."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, rule

from credits import services
from credits.errors import AccountSuspended, CodeRefused, InsufficientCredits
from credits.services import CodeTerms, Source
from tests.helpers.budget import budgeted
from tests.helpers.stateful import RolledBackMachine, run
from tests.helpers.wallet import NOW, TestWallet
from tests.helpers.wallet_model import ModelLot, ModelWallet

AMOUNTS = st.integers(1, 30)
DAYS = st.integers(1, 4)
LIMIT = 60  # of what nobody paid for
WELCOME = 10
CODES = {"ONCE": CodeTerms(credits=7, lot_days=2), "TWICE": CodeTerms(credits=5, max_per_user=2)}


class Ledger(RolledBackMachine):
    """Each run is one person's wallet."""

    jobs = Bundle("jobs")
    transactions = Bundle("transactions")

    def __init__(self):
        super().__init__()
        for code, terms in CODES.items():
            services.create_code(code=code, terms=terms, now=NOW)
        self.wallet = TestWallet(credits=WELCOME)
        self.model = ModelWallet(limit=LIMIT)
        self.model.add_lot(WELCOME, origin="welcome")
        self.corrected = 0  # by support, down
        self.suspended = False
        self.charged = {}  # job: (day, [(lot, amount), …])
        self.refunded = {}  # job: the fee that was kept
        self.brought = {}  # transaction: lot
        self.redeemed = []  # (code, lot)

    def at_the_end(self):
        assert self.wallet.is_balanced()

    # --- what comes ---

    @rule(target=transactions, amount=AMOUNTS)
    def buy(self, amount):
        transaction_id = self.wallet.buy(amount)
        self.brought[transaction_id] = self.model.add_lot(amount, paid=True)
        return transaction_id

    @rule(target=transactions, amount=AMOUNTS, days=st.none() | DAYS)
    def renew(self, amount, days):
        """A month's allowance, which lapses at the next renewal or is kept."""
        transaction_id = str(uuid4())
        allowance = {"source": Source.SUBSCRIPTION, "transaction_id": transaction_id}
        self.wallet.grant(amount, days=days, **allowance)
        self.brought[transaction_id] = self.model.add_lot(amount, days=days, paid=True)
        return transaction_id

    @rule(transaction_id=transactions)
    def a_transaction_arrives_again(self, transaction_id):
        self.wallet.grant(99, source=Source.PURCHASE, transaction_id=transaction_id)

    @rule(amount=AMOUNTS, days=DAYS)
    def promote(self, amount, days):
        self.wallet.promote(amount, days=days)
        self.model.add_lot(amount, days=days)

    @rule(code=st.sampled_from(list(CODES)))
    def redeem(self, code):
        if self.suspended:
            with pytest.raises(AccountSuspended):
                self.wallet.redeem(code)
        elif [one for one, _ in self.redeemed].count(code) >= CODES[code].max_per_user:
            with pytest.raises(CodeRefused):
                self.wallet.redeem(code)
        else:
            before = self.model.balance
            answer = self.wallet.redeem(code)
            terms = CODES[code]
            lot = self.model.add_lot(terms.credits, days=terms.lot_days, origin=code)
            self.redeemed.append((code, lot))
            assert answer.credits_added == self.model.balance - before

    @rule(change=st.integers(-20, 20).filter(bool))
    def adjust(self, change):
        if -change > self.model.balance:
            with pytest.raises(InsufficientCredits):
                self.wallet.adjust(change)
            return
        self.wallet.adjust(change)
        if change > 0:
            self.model.add_lot(change, limited=False)
        else:
            self.model.debit(-change)
            self.corrected -= change

    # --- jobs ---

    @rule(target=jobs, amount=AMOUNTS)
    def charge(self, amount):
        job_id = uuid4()
        if self.suspended:
            with pytest.raises(AccountSuspended):
                self.wallet.charge(amount)
        elif self.model.debt or amount > self.model.balance:
            with pytest.raises(InsufficientCredits):
                self.wallet.charge(amount)
        else:
            self.wallet.charge(amount, job_id=job_id)
            self.charged[job_id] = self.model.day, self.model.debit(amount)
        return job_id

    @rule(job_id=jobs, cancelled=st.booleans(), fee=st.just(0) | st.integers(0, 5))
    def refund(self, job_id, cancelled, fee):
        if job_id in self.charged:  # it was not refused
            self.end(job_id, cancelled=cancelled, fee=fee)

    def end(self, job_id, *, cancelled, fee=0):
        day, parts = self.charged[job_id]
        fee = min(fee, sum(part for _, part in parts))
        refund = self.wallet.cancel if cancelled else self.wallet.refund
        entry = refund(job_id, fee=fee)
        if job_id in self.refunded:
            return
        self.refunded[job_id] = fee
        returned = [(self.lot_by_id(lot_id), n) for lot_id, n in entry.lots]
        self.model.refund(parts, since=day, returned=returned, fee=fee, cancelled=cancelled)

    # --- the store's refunds ---

    @rule(transaction_id=transactions, share=st.just(100_000) | st.integers(0, 100_000))
    def claw_back(self, transaction_id, share):
        self.wallet.claw_back(transaction_id, share=share)
        self.model.claw_back(self.brought[transaction_id], share)

    @rule(transaction_id=transactions)
    def reverse_clawback(self, transaction_id):
        self.wallet.reverse_clawback(transaction_id)
        self.model.reverse_clawback(self.brought[transaction_id])

    # --- time, standing, another wallet ---

    @rule()
    def a_day_passes(self):
        self.model.day += 1
        self.wallet.now = NOW + timedelta(days=self.model.day)
        services.expire_due_lots(now=self.wallet.now)
        for lot in self.model.lots:
            if lot.expires_day <= self.model.day:
                lot.expire(lot.remaining)

    @rule()
    def suspend_or_resume(self):
        change = services.resume if self.suspended else services.suspend
        change(user_id=self.wallet.user_id)
        self.suspended = not self.suspended

    @rule(
        codes=st.lists(st.sampled_from(list(CODES)), unique=True),
        welcome=st.booleans(),
        running=st.lists(st.integers(1, 9), max_size=3),
        own=st.integers(0, 12),
        then=st.sampled_from(["all run on", "all fail", "all are cancelled"]),
    )
    def become_part_of_an_account(self, codes, welcome, running, own, then):
        """`running` jobs have just taken so much, and one of the account's `own`."""
        guest = self.wallet
        account = TestWallet(now=guest.now, credits=WELCOME if welcome else 0)
        users = {"from_user_id": guest.user_id, "into_user_id": account.user_id}
        if self.suspended:
            with pytest.raises(AccountSuspended):
                services.merge(**users, now=guest.now)
            return
        for amount in running:
            self.charge(amount)
        for code in codes:
            account.redeem(code)
        own = min(own, account.balance)
        own_job = account.charge(own) if own else None
        for _ in range(2):
            services.merge(**users, now=guest.now)
        assert (guest.balance, guest.debt, guest.lots) == (0, 0, [])
        assert guest.is_balanced()
        self.wallet = account
        brought = self.join(codes, welcome=welcome)
        if own_job:
            account_alone = ModelWallet(lots=brought)
            self.charged[own_job] = self.model.day, account_alone.debit(own)
        if then != "all run on":
            for job_id in self.charged:
                self.end(job_id, cancelled=then == "all are cancelled")

    def join(self, codes, *, welcome):
        """The account had these, and the lots that it got are returned; what the guest had of them
        besides is superseded."""
        if welcome:
            for lot in self.model.lots:
                if lot.origin == "welcome" and not lot.is_superseded:
                    self.model.supersede(lot)
        used = Counter(codes)
        for code, lot in self.redeemed:
            used[code] += 1
            if used[code] > CODES[code].max_per_user and not lot.is_superseded:
                self.model.supersede(lot)
        brought = [self.bring(WELCOME, origin="welcome")] if welcome else []
        for code in codes:
            brought.append(self.bring(CODES[code].credits, days=CODES[code].lot_days, origin=code))
            self.redeemed.append((code, brought[-1]))
        return brought

    def bring(self, amount, *, days=None, origin):
        """The account owed nothing when this was given, whatever the guest owed."""
        expires_day = None if days is None else self.model.day + days
        lot = ModelLot(amount, amount, expires_day=expires_day, origin=origin)
        self.model.lots.append(lot)
        self.model.lifetime += amount
        return lot

    # --- what always holds ---

    @invariant()
    def the_wallet_is_as_the_model_says(self):
        assert (self.wallet.balance, self.wallet.debt) == (self.model.balance, self.model.debt)
        assert self.wallet.lots == [lot.remaining for lot in self.model.lots]
        assert services.balance_of(self.wallet.user_id).lifetime_total == self.model.lifetime

    @invariant()
    def nothing_came_from_nowhere(self):
        """What was granted is held, spent, lapsed, taken by support or taken back by the store."""
        spent = sum(
            part
            for job_id, (_, parts) in self.charged.items()
            if job_id not in self.refunded
            for _, part in parts
        ) + sum(self.refunded.values())
        granted = sum(
            lot.granted - lot.expired_amount - lot.clawed_back - lot.debt_from_clawback
            for lot in self.model.lots
        )
        assert self.model.balance - self.model.debt == granted - spent - self.corrected

    @invariant()
    def nobody_holds_more_than_one_welcome_and_each_code_as_often_as_it_says(self):
        worth = {"welcome": WELCOME} | {
            code: terms.credits * terms.max_per_user for code, terms in CODES.items()
        }
        for origin, most in worth.items():
            assert self.model.held(origin) <= most

    def lot_by_id(self, lot_id):
        ids = [str(lot.id) for lot in self.wallet.row.lots.order_by("id")]
        return self.model.lots[ids.index(lot_id)]


@budgeted
def test_changes_in_any_order_match_the_model(db, settings):
    settings.MAX_GRANTED_BALANCE = LIMIT

    run(Ledger, examples=20, steps=25)
