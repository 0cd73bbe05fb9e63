"""Who pays for what became of a submission.

The user pays for a video: whatever ends without one is refunded. A provider may take its price from
us nevertheless; that is booked as the submission's cost. What the provider itself says wins over
the table; it does not always say, and a cost that we book too high is found against its invoice,
while one we leave out is not.

Some endings that cost us are the user's own doing. Beyond a few of them the refund leaves out what
the provider took (generation.exposure).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from generation.providers.base import FailureReason


class Ending(Enum):
    """How one submission ended; `lifecycle.settle` and `submit` are where each is told."""

    NOT_SENT = "not sent"
    REFUSED = "refused before it was taken"
    REJECTED = "input rejected after it was taken"
    PROVIDER_FAULT = "broke at the provider"
    CANCELLED_WAITING = "cancelled before it began"
    CANCELLED_RUNNING = "cancelled after it began"
    TIMEOUT = "timed out, or its outcome is unknown"
    UNUSABLE = "made, but not to be had or not playable"
    OBJECTED = "made, and refused by moderation"
    OUR_FAULT = "our storage, our moderation or our workers failed"
    LATE = "delivered after its refund"
    DELIVERED = "delivered"


@dataclass(frozen=True)
class Bill:
    """`is_users_doing`: the user ended it, or asked for what is not allowed."""

    user_pays: bool
    we_pay: bool
    why: str
    is_users_doing: bool = False


WHO_PAYS = {
    Ending.NOT_SENT: Bill(False, False, "No provider has heard of it."),
    Ending.REFUSED: Bill(False, False, "A 4xx at submission: nothing was computed."),
    Ending.REJECTED: Bill(
        False, True, "fal: a 422 may be charged if a runner had worked.", is_users_doing=True
    ),
    Ending.PROVIDER_FAULT: Bill(False, False, "fal: 5xx and waiting are never charged."),
    Ending.CANCELLED_WAITING: Bill(False, False, "It was taken out of the queue."),
    Ending.CANCELLED_RUNNING: Bill(
        False, True, "Runway: once it runs, nothing comes back.", is_users_doing=True
    ),
    Ending.TIMEOUT: Bill(False, True, "It may have run, or run on."),
    Ending.UNUSABLE: Bill(False, True, "The provider considers it made."),
    Ending.OBJECTED: Bill(
        False, True, "The provider made what was asked for.", is_users_doing=True
    ),
    Ending.OUR_FAULT: Bill(False, True, "The provider did its part, or may have."),
    Ending.LATE: Bill(False, True, "The refund stands, and the video is the user's."),
    Ending.DELIVERED: Bill(True, True, "What was sold."),
}


def ending_of(reason: FailureReason, *, began: bool) -> Ending:
    """How a submission ended whose job will not be made. `began`: as far as we ever saw."""
    if reason in {FailureReason.CANCELLED, FailureReason.CANCELLED_BY_PROVIDER}:
        return Ending.CANCELLED_RUNNING if began else Ending.CANCELLED_WAITING
    return {
        FailureReason.REJECTED: Ending.REJECTED,
        FailureReason.PROVIDER_ERROR: Ending.PROVIDER_FAULT,
        FailureReason.UNUSABLE: Ending.UNUSABLE,
        FailureReason.RESULT_FLAGGED: Ending.OBJECTED,
        FailureReason.RESULT_NOT_MODERATED: Ending.OUR_FAULT,
        FailureReason.TIMEOUT: Ending.TIMEOUT,
        FailureReason.STORAGE_ERROR: Ending.OUR_FAULT,
        FailureReason.WORKER_ERROR: Ending.OUR_FAULT,
    }[reason]


def booked(ending: Ending, said_usd: Decimal | None) -> dict[str, Decimal]:
    """What changes in a submission's cost, which begins as its route's full price."""
    if said_usd is not None:
        return {"cost_usd": said_usd}
    return {} if WHO_PAYS[ending].we_pay else {"cost_usd": Decimal(0)}


def loss_usd(ending: Ending, cost_usd: Decimal) -> Decimal | None:
    """What an ending that is its user's doing has cost us; None for all others, and where its
    provider took nothing."""
    return cost_usd if WHO_PAYS[ending].is_users_doing and cost_usd else None
