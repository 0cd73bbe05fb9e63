"""Any order of moves of credits against a model that fits on a page."""

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
from tests.credits.model import ModelLot, ModelWallet
from tests.credits.purses import NOW, Purse
from tests.machines import RolledBackMachine, run

AMOUNTS = st.integers(1, 30)
DAYS = st.integers(1, 4)
LIMIT = 60  # of what nobody paid for
CODES = {"ONCE": CodeTerms(credits=7, lot_days=2), "TWICE": CodeTerms(credits=5, max_per_user=2)}


class Ledger(RolledBackMachine):
    """Each run is one person's wallet."""

    jobs = Bundle("jobs")
    transactions = Bundle("transactions")

    def __init__(self):
        super().__init__()
        for code, terms in CODES.items():
            services.make_code(code=code, terms=terms, now=NOW)
        self.purse = Purse()
        self.model = ModelWallet(limit=LIMIT)
        self.corrected = 0  # by support, down
        self.suspended = False
        self.charged = {}  # job: (day, [(lot, amount), …])
        self.refunded = set()
        self.brought = {}  # transaction: lot
        self.redeemed = []  # (code, lot)

    def at_the_end(self):
        assert self.purse.adds_up()

    # --- what comes ---

    @rule(target=transactions, amount=AMOUNTS)
    def buy(self, amount):
        transaction_id = self.purse.buy(amount)
        self.brought[transaction_id] = self.model.keep(amount, paid=True)
        return transaction_id

    @rule(target=transactions, amount=AMOUNTS, days=st.none() | DAYS)
    def renew(self, amount, days):
        """A month's allowance, which lapses at the next renewal or is kept."""
        transaction_id = str(uuid4())
        allowance = {"source": Source.SUBSCRIPTION, "transaction_id": transaction_id}
        self.purse.grant(amount, days=days, **allowance)
        self.brought[transaction_id] = self.model.keep(amount, days=days, paid=True)
        return transaction_id

    @rule(transaction_id=transactions)
    def a_transaction_arrives_again(self, transaction_id):
        self.purse.grant(99, source=Source.PURCHASE, transaction_id=transaction_id)

    @rule(amount=AMOUNTS, days=DAYS)
    def promote(self, amount, days):
        self.purse.promote(amount, days=days)
        self.model.keep(amount, days=days)

    @rule(code=st.sampled_from(list(CODES)))
    def redeem(self, code):
        if self.suspended:
            with pytest.raises(AccountSuspended):
                self.purse.redeem(code)
        elif [one for one, _ in self.redeemed].count(code) >= CODES[code].max_per_user:
            with pytest.raises(CodeRefused):
                self.purse.redeem(code)
        else:
            before = self.model.balance
            answer = self.purse.redeem(code)
            lot = self.model.keep(CODES[code].credits, days=CODES[code].lot_days)
            self.redeemed.append((code, lot))
            assert answer.credits_added == self.model.balance - before

    @rule(change=st.integers(-20, 20).filter(bool))
    def adjust(self, change):
        if -change > self.model.balance:
            with pytest.raises(InsufficientCredits):
                self.purse.adjust(change)
            return
        self.purse.adjust(change)
        if change > 0:
            self.model.keep(change, limited=False)
        else:
            self.model.spend(-change)
            self.corrected -= change

    # --- jobs ---

    @rule(target=jobs, amount=AMOUNTS)
    def charge(self, amount):
        job_id = uuid4()
        if self.suspended:
            with pytest.raises(AccountSuspended):
                self.purse.charge(amount)
        elif self.model.debt or amount > self.model.balance:
            with pytest.raises(InsufficientCredits):
                self.purse.charge(amount)
        else:
            self.purse.charge(amount, job_id=job_id)
            self.charged[job_id] = self.model.day, self.model.spend(amount)
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
        returned = [(self.lot_by_id(lot_id), n) for lot_id, n in self.purse.entries[-1].lots]
        self.model.unspend(parts, since=day, returned=returned)

    # --- the store's refunds ---

    @rule(transaction_id=transactions, share=st.just(100_000) | st.integers(0, 100_000))
    def take_back(self, transaction_id, share):
        self.purse.take_back(transaction_id, milli_percent=share)
        self.model.take_back(self.brought[transaction_id], share)

    @rule(transaction_id=transactions)
    def give_back(self, transaction_id):
        self.purse.give_back(transaction_id)
        self.model.give_back(self.brought[transaction_id])

    # --- time, standing, another wallet ---

    @rule()
    def a_day_passes(self):
        self.model.day += 1
        self.purse.now = NOW + timedelta(days=self.model.day)
        services.lapse_expired(now=self.purse.now)
        for lot in self.model.lots:
            if lot.expires_day <= self.model.day:
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
                self.model.lifetime -= lot.remaining
                lot.lapse(lot.remaining)
        for code in codes:
            terms = CODES[code]
            expires_day = self.model.day + terms.lot_days if terms.lot_days else None
            lot = ModelLot(terms.credits, terms.credits, expires_day=expires_day)
            self.model.lots.append(lot)
            self.redeemed.append((code, lot))
            self.model.lifetime += terms.credits

    # --- what always holds ---

    @invariant()
    def the_wallet_is_as_the_model_says(self):
        assert (self.purse.balance, self.purse.debt) == (self.model.balance, self.model.debt)
        assert self.purse.lots == [lot.remaining for lot in self.model.lots]
        assert services.balance_of(self.purse.user_id).lifetime_total == self.model.lifetime

    @invariant()
    def nothing_came_from_nowhere(self):
        """What was granted is held, spent, lapsed, taken by support or taken back by the store."""
        spent = sum(
            part
            for job_id, (_, parts) in self.charged.items()
            if job_id not in self.refunded
            for _, part in parts
        )
        granted = sum(lot.granted - lot.lapsed - lot.taken - lot.owed for lot in self.model.lots)
        assert self.model.balance - self.model.debt == granted - spent - self.corrected

    def lot_by_id(self, lot_id):
        ids = [str(lot.id) for lot in self.purse.wallet.lots.order_by("id")]
        return self.model.lots[ids.index(lot_id)]


def test_any_order_of_moves_ends_where_a_simple_model_does(db, settings):
    settings.MAX_GRANTED_BALANCE = LIMIT

    assert run(Ledger, examples=20, steps=25) >= 20
