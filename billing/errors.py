"""Refusals of billing."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from rendio.common.errors import Refusal


class InvalidTransaction(Refusal):
    """Apple does not know the transaction, did not sign it, signed it for another app, or has
    revoked it."""

    code = "ERR_4013"
    type = "INVALID_TRANSACTION"
    status = 400
    message = _("The App Store did not confirm this purchase.")


class TransactionClaimed(Refusal):
    code = "ERR_4014"
    type = "TRANSACTION_CLAIMED"
    status = 409
    message = _("This purchase belongs to another account.")


class UnknownProduct(Refusal):
    code = "ERR_4015"
    type = "UNKNOWN_PRODUCT"
    status = 400
    message = _("This product is not available.")


class StoreUnavailable(Refusal):
    """Apple did not answer, or answered that it cannot serve the call. The client may retry. We
    fetch a purchase that the client has named without another call."""

    code = "ERR_5005"
    type = "STORE_UNAVAILABLE"
    status = 503
    message = _("The App Store cannot be reached. Your purchase is safe; try again.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "5"


class UnreadablePurchase(StoreUnavailable):
    """Apple signed the purchase and we cannot read it. It is kept for staff (services.unreadable);
    the phone must not finish the transaction."""
