"""Refusals of credits."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from rendio.common.errors import InvalidState, Refusal


class InsufficientCredits(Refusal):
    """`required` and `available` in credits; with `debt` if a debt must be repaid first."""

    code = "ERR_4001"
    type = "INSUFFICIENT_CREDITS"
    status = 402
    message = ngettext_lazy(
        "You need %(required)s credit for this and have %(available)s.",
        "You need %(required)s credits for this and have %(available)s.",
        "required",
    )
    example = {"required": 8, "available": 3}

    def get_message(self) -> Promise:
        if "debt" in self.details:
            return ngettext_lazy(
                "%(debt)s credit of a refunded purchase was spent and has to be repaid first.",
                "%(debt)s credits of a refunded purchase were spent and have to be repaid first.",
                "debt",
            )
        return self.message


class IdempotencyKeyRequired(Refusal):
    code = "ERR_4009"
    type = "IDEMPOTENCY_KEY_REQUIRED"
    status = 400
    message = _("The Idempotency-Key header must be a UUID.")


class IdempotencyKeyReused(Refusal):
    code = "ERR_4010"
    type = "IDEMPOTENCY_KEY_REUSED"
    status = 422
    message = _("This Idempotency-Key was used for another request.")


class AccountSuspended(Refusal):
    code = "ERR_4018"
    type = "ACCOUNT_SUSPENDED"
    status = 403
    message = _("This account is suspended.")


class CodeRefused(InvalidState):
    """A promotion code that cannot be redeemed: `problem` says why."""

    messages = {
        "already_redeemed": _("You have already redeemed this code."),
        "stopped": _("This code is no longer valid."),
        "expired": _("This code has expired."),
        "used_up": _("This code has been used up."),
        "sign_in_first": _("Sign in with Apple to redeem codes on this phone."),
    }

    def get_message(self) -> Promise:
        return self.messages[self.details["problem"]]


class LedgerBroken(Exception):
    """Lots and balance disagree: nothing may move until `prove_ledger` is clean again."""
