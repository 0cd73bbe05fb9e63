"""Proving the ledger now and then, so that somebody hears of a difference before a customer does.

At most once in LEDGER_PROOF_SECONDS; a proof that dies with its worker is followed by the next.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from credits import queries
from credits.models import LedgerProof
from rendio.common import clock

logger = structlog.get_logger(__name__)


def prove_if_due(*, now: datetime) -> bool:
    """Replay the ledger if it is time, and keep how it went. Opens transactions of its own.

    True where this call did.
    """
    next_at = now + timedelta(seconds=settings.LEDGER_PROOF_SECONDS)
    with transaction.atomic(durable=True):
        if not LedgerProof.objects.filter(due_at__lte=now).update(due_at=next_at):
            return False
    proof = queries.prove()
    ended = clock.now()
    changes = {"proved_at": ended} if not proof.differences else {}
    LedgerProof.objects.update(
        looked_at=ended,
        differences=len(proof.differences),
        entries=proof.entries,
        **changes,
    )
    for difference in proof.differences:
        logger.error(
            "ledger_differs",
            wallet_id=str(difference.wallet_id),
            what=difference.what,
            expected=difference.expected,
            found=difference.found,
        )
    return True
