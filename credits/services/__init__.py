"""Every change of credits, by topic.

Each function takes the wallet's row lock first (Django refuses the lock where no transaction is
open), changes balance and lots, and appends the entry that says so. All join the caller's
transaction.
"""

from __future__ import annotations

from credits.errors import AccountSuspended, InsufficientCredits, LedgerBroken
from credits.models import Source
from credits.services.charges import charge, refund
from credits.services.expiry import lapse_expired
from credits.services.grants import adjust, grant
from credits.services.merging import merge
from credits.services.store_refunds import give_back, take_back
from credits.services.wallets import (
    Balance,
    balance_of,
    close,
    lock_wallet,
    lock_wallets,
    open_wallet,
    resume,
    suspend,
)

__all__ = [
    "AccountSuspended",
    "Balance",
    "InsufficientCredits",
    "LedgerBroken",
    "Source",
    "adjust",
    "balance_of",
    "charge",
    "close",
    "give_back",
    "grant",
    "lapse_expired",
    "lock_wallet",
    "lock_wallets",
    "merge",
    "open_wallet",
    "refund",
    "resume",
    "suspend",
    "take_back",
]
