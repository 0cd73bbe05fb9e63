"""Every write to wallets, lots and the ledger, by topic.

A function that moves credits locks the wallet's row first (Django raises where no transaction is
open), changes the balance and the lots, and appends the ledger entry. All functions join the
caller's transaction, except `verify_ledger_if_due`, which opens its own.
"""

from __future__ import annotations

from credits.models import Source
from credits.services.charges import charge, check_can_charge, count_charge, refund
from credits.services.clawbacks import claw_back, reverse_clawback
from credits.services.entries import ledger_errors
from credits.services.expiry import expire_due_lots, extend_expiry
from credits.services.grants import adjust, grant
from credits.services.merging import merge, supersede_purchase
from credits.services.promotion_codes import (
    CodeTerms,
    Redeemed,
    create_code,
    get_terms,
    lock_code,
    normalize_code,
    redeem,
    set_code_active,
    update_code,
    validate_new_code,
    validate_terms,
)
from credits.services.scheduled_ledger_check import verify_ledger_if_due
from credits.services.wallets import (
    Balance,
    balance_of,
    close,
    lock_wallet,
    lock_wallets,
    open_wallet,
    resume,
    suspend,
    wallet_lock,
)

__all__ = [
    "Balance",
    "CodeTerms",
    "Redeemed",
    "Source",
    "adjust",
    "balance_of",
    "charge",
    "check_can_charge",
    "claw_back",
    "close",
    "count_charge",
    "create_code",
    "expire_due_lots",
    "extend_expiry",
    "get_terms",
    "grant",
    "ledger_errors",
    "lock_code",
    "lock_wallet",
    "lock_wallets",
    "merge",
    "normalize_code",
    "open_wallet",
    "redeem",
    "refund",
    "resume",
    "reverse_clawback",
    "set_code_active",
    "supersede_purchase",
    "suspend",
    "update_code",
    "validate_new_code",
    "validate_terms",
    "verify_ledger_if_due",
    "wallet_lock",
]
