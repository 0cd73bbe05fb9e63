"""The act upon what moderation refused: a user's offences are forgiven (adminops.actions.audit)."""

from __future__ import annotations

from typing import Unpack
from uuid import UUID

from django.db import transaction

from adminops.actions.audit import Who, admitted, record_act
from adminops.models import AdminAction
from generation.moderation import strikes
from rendio.common.times import iso


@transaction.atomic(durable=True)
def forgive_offences(*, user_id: UUID, **who: Unpack[Who]) -> strikes.ClearedStrikes:
    """The user's offences count no more; a hold, and a ban that they led to, end.

    Raises Forbidden, InvalidInput, NotFound, InvalidState where there is none.
    """
    who = admitted(AdminAction.FORGIVE_OFFENCES, who)
    forgiven = strikes.clear_strikes(
        user_id=user_id, acting_user_id=who["acting_user"].id, now=who["now"]
    )
    record_act(
        AdminAction.FORGIVE_OFFENCES,
        who,
        subject_id=user_id,
        before={
            "offences": forgiven.offences,
            "held_until": iso(forgiven.held_until),
            "banned": forgiven.was_banned,
        },
        after={"offences": 0, "held_until": None, "banned": False},
    )
    return forgiven
