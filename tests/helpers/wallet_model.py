"""A wallet that fits on a page: what each lot holds, and what is owed.

The tests that drive the real one in any order compare it with this.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, inf

FULL_SHARE = 100_000  # thousandths of a percent


class ModelLot:
    """`taken` and `owed`: by store refunds that were not reversed.

    `way` is how it came, where one person has that a limited number of times: a welcome, or a code.
    """

    def __init__(self, granted, remaining, *, expires_day=None, paid=False, origin=None):
        self.granted, self.remaining, self.paid, self.origin = granted, remaining, paid, origin
        self.worth = remaining
        self.is_superseded = False
        self.debt_repaid = granted - remaining
        self.expires_day = inf if expires_day is None else expires_day
        self.clawed_back = self.debt_from_clawback = self.expired_amount = 0
        self.revoked_day = None

    def expire(self, amount):
        self.remaining -= amount
        self.expired_amount += amount

    def restore_expiry(self, *, since, day):
        """What comes back into it has the time that it had left when it went."""
        if self.expires_day <= day:
            self.expires_day = day + self.expires_day - since


class ModelWallet:
    """`limit`: how much it holds of what nobody paid for."""

    def __init__(self, *, limit=inf, lots=()):
        self.limit = limit
        self.lots = list(lots)
        self.debt = self.lifetime = self.day = 0

    @property
    def balance(self):
        return sum(lot.remaining for lot in self.lots)

    def add_lot(self, amount, *, days=None, paid=False, limited=True, origin=None):
        repaid = min(self.debt, amount)
        self.debt -= repaid
        self.lifetime += amount
        expires_day = None if days is None else self.day + days
        lot = ModelLot(amount, amount - repaid, expires_day=expires_day, paid=paid, origin=origin)
        self.lots.append(lot)
        if limited and not paid:
            held = sum(lot.remaining for lot in self.lots if not lot.paid)
            lot.expire(min(max(held - self.limit, 0), lot.remaining))
        return lot

    def debit(self, amount):
        """Gives what it took: (lot, amount), …"""
        touched = []
        for lot in sorted(self.lots, key=lambda lot: lot.expires_day):  # the older of equals first
            part = min(lot.remaining, amount)
            lot.remaining -= part
            amount -= part
            if part:
                touched.append((lot, part))
        return touched

    def refund(self, parts, *, since, returned, fee=0, cancelled=False):
        """`returned` is what came back, (lot, amount), …: which of the lots that were spent pays
        the debt is the ledger's choice; the total is not."""
        due = self.refundable_parts(parts, fee)
        repaid = min(self.debt, sum(part for lot, part in due if not lot.is_superseded))
        self.debt -= repaid
        assert sum(change for _, change in returned) == sum(part for _, part in due) - repaid
        came = dict(returned)
        for lot, part in due:
            change = came.pop(lot, 0)
            assert change == part if lot.is_superseded else change <= part
            lot.debt_repaid += part - change
            if change:
                lot.remaining += change
                lot.restore_expiry(since=since, day=self.day)
            if lot.is_superseded and cancelled:
                lot.expire(part)
        assert not came
        self.expire_excess()

    def refundable_parts(self, parts, fee):
        """The lots that are spent first bear it."""
        due = []
        for lot, part in sorted(
            parts, key=lambda part: (part[0].expires_day, self.position(part[0]))
        ):
            kept = min(fee, part)
            fee -= kept
            due.append((lot, part - kept))
        return due

    def position(self, lot):
        return next(position for position, mine in enumerate(self.lots) if mine is lot)

    def supersede(self, lot):
        """Another lot that came in this way counts instead."""
        self.lifetime -= lot.remaining
        self.debt += lot.debt_repaid
        lot.expire(lot.remaining)
        lot.expired_amount += lot.debt_repaid
        lot.is_superseded = True

    def expire_excess(self):
        """Superseded lots hold only what those that count have spent."""
        for lot in self.lots:
            if lot.is_superseded:
                excess = self.held(lot.origin) - self.counted_amount(lot.origin)
                lot.expire(max(min(excess, lot.remaining), 0))

    def held(self, origin):
        return sum(lot.remaining for lot in self.lots if lot.origin == origin)

    def counted_amount(self, origin):
        return sum(lot.worth for lot in self.lots if lot.origin == origin and not lot.is_superseded)

    def claw_back(self, lot, share):
        nearest = ceil(Fraction(lot.granted * share, FULL_SHARE) - Fraction(1, 2))
        missing = nearest - lot.clawed_back - lot.debt_from_clawback - lot.expired_amount
        if missing > 0:
            clawed_back = min(lot.remaining, missing)
            lot.remaining -= clawed_back
            lot.clawed_back += clawed_back
            lot.debt_from_clawback += missing - clawed_back
            self.debt += missing - clawed_back
            lot.revoked_day = self.day

    def reverse_clawback(self, lot):
        if lot.revoked_day is None:
            return
        forgiven = min(self.debt, lot.debt_from_clawback)
        self.debt -= forgiven
        lot.remaining += lot.clawed_back + lot.debt_from_clawback - forgiven
        lot.restore_expiry(since=lot.revoked_day, day=self.day)
        lot.clawed_back = lot.debt_from_clawback = 0
        lot.revoked_day = None
