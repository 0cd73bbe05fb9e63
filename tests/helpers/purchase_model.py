"""What is bought, as it should stand after what we have heard of it: it fits on a page."""

from __future__ import annotations

from datetime import timedelta

from tests.billing.conftest import FIFTY, PREMIUM, TEN
from tests.helpers.wallet_model import FULL_SHARE, ModelWallet

PLUS = "com.rendio.plus.monthly"
CREDITS = {TEN: 10, FIFTY: 50, PREMIUM: 60, PLUS: 150}
TRIAL_CREDITS = 15  # of PREMIUM
MONTH = timedelta(days=30)


class Person:
    """A guest, then an account, in the end nobody."""

    def __init__(self, phone):
        self.phone = phone
        self.wallet = ModelWallet()
        self.wallet.add_lot(10)  # the welcome
        self.has_account = self.has_left = False


class SubscriptionModel:
    """A subscription: its periods, those that we know included, and what is true at Apple."""

    def __init__(self, owner):
        self.owner, self.periods = owner, []
        self.is_failing = self.is_over = False
        self.grace_until = None
        self.heard_at, self.heard_grace = None, None

    @property
    def latest(self):
        return self.periods[-1]

    @property
    def known(self):
        return [one for one in self.periods if one.counts]

    def hear(self, signed_at, grace_until):
        if self.heard_at is None or signed_at >= self.heard_at:
            self.heard_at, self.heard_grace = signed_at, grace_until

    def access(self):
        """Whose it is, and until when."""
        if not self.known:
            return None, None
        current = max(self.known, key=lambda one: (one.access_ends, one.begins))
        until = current.access_ends
        is_of_it = self.heard_at and self.heard_at >= current.begins
        if self.heard_grace and is_of_it and not current.heard_revoked_at:
            until = max(until, self.heard_grace)
        return current.owner, until


class PurchaseModel:
    """A transaction: what is true at Apple, what we have heard of it, and what came of it."""

    def __init__(
        self, product, *, owner, quantity=1, line=None, begins=None, is_renewal=False, is_free=False
    ):
        self.product, self.owner, self.is_free = product, owner, is_free
        self.credits = TRIAL_CREDITS if is_free else CREDITS[product] * quantity
        self.line, self.begins, self.is_renewal = line, begins, is_renewal
        self.ends = begins and begins + MONTH
        self.first_told = None  # by the sandbox
        self.revoked_at, self.share = None, 0
        self.heard_at, self.heard_revoked_at, self.heard_share = None, None, 0
        self.counts = False  # somebody has it
        self.lot, self.taken = None, 0

    @property
    def id(self):
        return self.first_told["transaction_id"]

    @property
    def state(self):
        return self.revoked_at, self.share

    def hear(self, signed_at, state, *, claimant=None):
        """Its first claimant's it is, where it names nobody."""
        if self.heard_at is None or signed_at >= self.heard_at:
            self.heard_at, (self.heard_revoked_at, self.heard_share) = signed_at, state
        self.owner = self.owner or claimant
        self.settle()

    def settle(self):
        if self.owner and not self.owner.has_left:
            self.counts = True
        # What an upgrade cuts off goes before its own credits come.
        for one in self.line.known if self.line else [self]:
            one.follow()
        is_due = self.counts and not self.lot and self.heard_share < FULL_SHARE
        if is_due and not self.owner.has_left:
            self.lot = self.owner.wallet.add_lot(self.credits, paid=True)
            self.follow()

    def follow(self):
        """The share that was refunded, or cut off, is not its owner's any more."""
        share = max(self.heard_share, self.cut_off)
        if self.lot is None or share == self.taken:
            return
        if share < self.taken:
            self.owner.wallet.reverse_clawback(self.lot)
        self.owner.wallet.claw_back(self.lot, share)
        self.taken = share

    @property
    def replaced_at(self):
        """When an upgrade began in the middle of it."""
        if not self.line:
            return None
        upgrades = [
            one.begins
            for one in self.line.known
            if one.product != self.product and not one.is_renewal
        ]
        return min([at for at in upgrades if self.begins < at < self.ends], default=None)

    @property
    def cut_off(self):
        if self.is_free or not self.replaced_at:  # Apple pays nothing back for a trial
            return 0
        return (self.ends - self.replaced_at) * FULL_SHARE // MONTH

    @property
    def access_ends(self):
        return min(end for end in (self.ends, self.heard_revoked_at, self.replaced_at) if end)
