"""Every change of credits, by topic.

What moves credits takes the wallet's row lock first (Django refuses the lock where no transaction
is open), changes balance and lots, and appends the entry that says so. All join the caller's
transaction but `prove_if_due`, which opens its own.
"""

from __future__ import annotations

from credits.errors import AccountSuspended, CodeRefused, InsufficientCredits, LedgerBroken
from credits.models import Source
from credits.services.charges import charge, refund
from credits.services.expiry import lapse_expired, prolong
from credits.services.grants import adjust, grant
from credits.services.ledger_check import prove_if_due
from credits.services.merging import merge, supersede
from credits.services.promotion_codes import (
    CodeTerms,
    Redeemed,
    change_code,
    check_new_code,
    check_terms,
    lock_code,
    make_code,
    normal_code,
    redeem,
    set_code_active,
    terms_of,
)
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
    "CodeRefused",
    "CodeTerms",
    "InsufficientCredits",
    "LedgerBroken",
    "Redeemed",
    "Source",
    "adjust",
    "balance_of",
    "change_code",
    "charge",
    "check_new_code",
    "check_terms",
    "close",
    "give_back",
    "grant",
    "lapse_expired",
    "lock_code",
    "lock_wallet",
    "lock_wallets",
    "make_code",
    "merge",
    "normal_code",
    "open_wallet",
    "prolong",
    "prove_if_due",
    "redeem",
    "refund",
    "resume",
    "set_code_active",
    "supersede",
    "suspend",
    "take_back",
    "terms_of",
]
