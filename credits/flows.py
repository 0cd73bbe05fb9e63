"""Credits that entered and left all wallets, by reason: the figures of the finance report."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Case, F, Q, Sum, TextChoices, Value, When

from credits.models import PAID_SOURCES, SANDBOX_PREFIX, Kind, LedgerEntry, Lot


class Flow(TextChoices):
    """Why credits entered or left wallets, summed over all wallets."""

    SOLD = "sold"  # for money
    TESTED = "tested"  # bought in Apple's sandbox, without payment
    GRANTED = "granted"  # welcome, code, free trial, support
    SPENT = "spent"  # on jobs
    REFUNDED = "refunded"  # jobs that failed or were cancelled
    EXPIRED = "lapsed", "Expired"
    CLAWED_BACK = "taken back", "Clawed back"  # clawed back for store refunds, less reversals
    ADJUSTED = "adjusted"  # by support, up or down


_IS_SANDBOX = Q(transaction_id__startswith=SANDBOX_PREFIX)


# The reasons that billing.services.grants gives for purchases at no charge.
_IS_FREE = Q(reason__in=["free trial", "free offer"])


_FLOW = Case(
    When(Q(kind=Kind.GRANT) & _IS_SANDBOX, then=Value(Flow.TESTED)),
    When(Q(kind=Kind.GRANT) & _IS_FREE, then=Value(Flow.GRANTED)),
    When(kind=Kind.GRANT, transaction_id__isnull=False, then=Value(Flow.SOLD)),
    When(kind=Kind.GRANT, then=Value(Flow.GRANTED)),
    When(kind=Kind.CHARGE, then=Value(Flow.SPENT)),
    When(kind=Kind.REFUND, then=Value(Flow.REFUNDED)),
    When(kind=Kind.EXPIRY, then=Value(Flow.EXPIRED)),
    When(kind__in=[Kind.REVOCATION, Kind.REVERSAL], then=Value(Flow.CLAWED_BACK)),
    When(kind=Kind.ADJUSTMENT, then=Value(Flow.ADJUSTED)),
)


def credit_flows(*, first: UUID, before: UUID) -> dict[Flow, int]:
    """Return the credits moved by the entries with ids in [first, before), negative where wallets
    lost them.

    Includes credits that repaid a debt or became one. Transfers between merged wallets are left
    out.
    """
    entries = LedgerEntry.objects.filter(id__gte=first, id__lt=before).exclude(kind=Kind.TRANSFER)
    moved = entries.values_list(_FLOW).annotate(total=Sum(F("change") - F("debt_change")))
    return {Flow(flow): total for flow, total in moved.order_by()}


def outstanding_credits() -> tuple[int, int]:
    """Return the credits in all wallets: (paid for, others). Scans every lot that holds credits:
    not for a page.
    """
    bought = Q(source__in=PAID_SOURCES) & ~_IS_SANDBOX
    totals = Lot.objects.filter(remaining__gt=0).aggregate(
        bought=Sum("remaining", filter=bought, default=0),
        given=Sum("remaining", filter=~bought, default=0),
    )
    return totals["bought"], totals["given"]
