"""Who pays for each outcome of a submission.

The user pays for a delivered video; every other outcome is refunded. The provider may charge us
nevertheless, and the charge is recorded as the submission's cost. A cost that the provider states
overrides the table. Without a statement the table assumes a charge where one is possible: a
comparison with the invoice reveals a cost that is too high, but not a cost that is missing.

Users cause some outcomes that cost us. After a few of these, the refund leaves out the provider's
charge (generation.exposure).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from generation.providers.base import FailureReason


class SubmissionOutcome(Enum):
    """How one submission ended."""

    NOT_SENT = "not sent"
    REFUSED = "rejected before acceptance"
    REJECTED = "input rejected after acceptance"
    PROVIDER_FAULT = "failed at the provider"
    CANCELLED_WAITING = "cancelled before the start"
    CANCELLED_RUNNING = "cancelled after the start"
    TIMEOUT = "timed out, or unknown"
    UNUSABLE = "made, but not downloadable or not playable"
    OBJECTED = "made, but rejected by moderation"
    OUR_FAULT = "failed in our storage, moderation or workers"
    LATE = "delivered after the refund"
    DELIVERED = "delivered"


@dataclass(frozen=True)
class CostRule:
    """`caused_by_user`: the user cancelled, or requested content that is not allowed."""

    user_pays: bool
    we_pay: bool
    why: str
    caused_by_user: bool = False


COST_RULES = {
    SubmissionOutcome.NOT_SENT: CostRule(False, False, "No provider has heard of it."),
    SubmissionOutcome.REFUSED: CostRule(False, False, "A 4xx at submission: nothing was computed."),
    SubmissionOutcome.REJECTED: CostRule(
        False, True, "fal: a 422 may be charged if a runner had worked.", caused_by_user=True
    ),
    SubmissionOutcome.PROVIDER_FAULT: CostRule(
        False, False, "fal: 5xx and waiting are never charged."
    ),
    SubmissionOutcome.CANCELLED_WAITING: CostRule(False, False, "It was taken out of the queue."),
    SubmissionOutcome.CANCELLED_RUNNING: CostRule(
        False, True, "Runway: once it runs, nothing comes back.", caused_by_user=True
    ),
    SubmissionOutcome.TIMEOUT: CostRule(False, True, "It may have run, or run on."),
    SubmissionOutcome.UNUSABLE: CostRule(False, True, "The provider considers it made."),
    SubmissionOutcome.OBJECTED: CostRule(
        False, True, "The provider made what was asked for.", caused_by_user=True
    ),
    SubmissionOutcome.OUR_FAULT: CostRule(False, True, "The provider did its part, or may have."),
    SubmissionOutcome.LATE: CostRule(
        False, True, "The refund stands, and the video is the user's."
    ),
    SubmissionOutcome.DELIVERED: CostRule(True, True, "What was sold."),
}


def outcome_for(reason: FailureReason, *, began: bool) -> SubmissionOutcome:
    """The outcome of a failed submission. `began`: the provider started it, as far as we know."""
    if reason in {FailureReason.CANCELLED, FailureReason.CANCELLED_BY_PROVIDER}:
        return SubmissionOutcome.CANCELLED_RUNNING if began else SubmissionOutcome.CANCELLED_WAITING
    return {
        FailureReason.REJECTED: SubmissionOutcome.REJECTED,
        FailureReason.PROVIDER_ERROR: SubmissionOutcome.PROVIDER_FAULT,
        FailureReason.UNUSABLE: SubmissionOutcome.UNUSABLE,
        FailureReason.RESULT_FLAGGED: SubmissionOutcome.OBJECTED,
        FailureReason.RESULT_NOT_MODERATED: SubmissionOutcome.OUR_FAULT,
        FailureReason.TIMEOUT: SubmissionOutcome.TIMEOUT,
        FailureReason.STORAGE_ERROR: SubmissionOutcome.OUR_FAULT,
        FailureReason.WORKER_ERROR: SubmissionOutcome.OUR_FAULT,
    }[reason]


def cost_update(outcome: SubmissionOutcome, reported_usd: Decimal | None) -> dict[str, Decimal]:
    """The change of a submission's cost, which starts as the full cost of the route."""
    if reported_usd is not None:
        return {"cost_usd": reported_usd}
    return {} if COST_RULES[outcome].we_pay else {"cost_usd": Decimal(0)}


def user_caused_loss_usd(outcome: SubmissionOutcome, cost_usd: Decimal) -> Decimal | None:
    """Our loss from an outcome that the user caused. None for other outcomes and without a cost."""
    return cost_usd if COST_RULES[outcome].caused_by_user and cost_usd else None
