"""What billing refuses."""

from __future__ import annotations

from credits.errors import AccountSuspended
from rendio.common.errors import Code, InvalidInput, NotFound, Refusal, Unauthorized

__all__ = [
    "AccountSuspended",
    "InvalidInput",
    "InvalidState",
    "InvalidTransaction",
    "NotFound",
    "StoreUnavailable",
    "TransactionClaimed",
    "Unauthorized",
    "UnknownProduct",
    "UnreadablePurchase",
]


class InvalidTransaction(Refusal):
    """Apple does not know it, did not sign it, signed it for another app, or has revoked it."""

    code = Code.INVALID_TRANSACTION


class TransactionClaimed(Refusal):
    code = Code.TRANSACTION_CLAIMED


class UnknownProduct(Refusal):
    code = Code.UNKNOWN_PRODUCT


class InvalidState(Refusal):
    """`problem` in the details says to the staff what stands in the way."""

    code = Code.INVALID_STATE


class StoreUnavailable(Refusal):
    """Apple was not reached or would not answer now. Nothing is lost: the same call may be sent
    again, and a purchase that was named is asked for again by itself."""

    code = Code.STORE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "5"


class UnreadablePurchase(StoreUnavailable):
    """Apple signed it and we cannot read it: it is kept for a person (services.unreadable), and the
    phone must not take the purchase for finished."""
