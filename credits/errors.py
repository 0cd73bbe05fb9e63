"""What credits refuse."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from rendio.common.errors import Code, Refusal


class InsufficientCredits(Refusal):
    """`required` and `available` in credits; `debt` too, where a debt is what stands in the way."""

    code = Code.INSUFFICIENT_CREDITS

    @property
    def message(self) -> Promise:
        if "debt" in self.details:
            return ngettext_lazy(
                "%(debt)s credit of a refunded purchase was spent and has to be repaid first.",
                "%(debt)s credits of a refunded purchase were spent and have to be repaid first.",
                "debt",
            )
        return super().message


class AccountSuspended(Refusal):
    code = Code.ACCOUNT_SUSPENDED


class CodeRefused(Refusal):
    """A promotion code that gives nothing (more): `problem` says why."""

    code = Code.INVALID_STATE
    messages = {
        "already_redeemed": _("You have redeemed this code already."),
        "stopped": _("This code is no longer valid."),
        "expired": _("This code has expired."),
        "used_up": _("All redemptions of this code are taken."),
        "sign_in_first": _("Sign in with Apple to redeem codes on this phone."),
    }

    @property
    def message(self) -> Promise:
        return self.messages[self.details["problem"]]


class IdempotencyKeyRequired(Refusal):
    code = Code.IDEMPOTENCY_KEY_REQUIRED


class IdempotencyKeyReused(Refusal):
    code = Code.IDEMPOTENCY_KEY_REUSED


class LedgerBroken(Exception):
    """Lots and balance disagree: nothing may move until `prove_ledger` is clean again."""
