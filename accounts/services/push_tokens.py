"""Push tokens: registered in a session, and deleted with it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import PushToken, Session
from accounts.push.outbox import MAX_PUSH_TOKENS
from accounts.services.sessions import find_session
from rendio.common.errors import Unauthorized


@transaction.atomic(durable=True)
def register_push_token(
    *, session_id: UUID, token: str, platform: str, environment: str, now: datetime
) -> None:
    """Send the session user's pushes to this phone from now on, and no other user's.

    The MAX_PUSH_TOKENS phones of a user that registered last are kept. Raises Unauthorized.
    """
    session = _lock_live_session(session_id, now=now)
    PushToken.objects.bulk_create(
        [
            PushToken(
                token=token,
                platform=platform,
                environment=environment,
                user_id=session.user_id,
                session=session,
                registered_at=now,
            )
        ],
        update_conflicts=True,
        unique_fields=["token"],
        update_fields=["platform", "environment", "user", "session", "registered_at"],
    )
    # A transaction that locks one of them is about to move or delete it: waiting could deadlock.
    ours = PushToken.objects.filter(user_id=session.user_id).select_for_update(skip_locked=True)
    kept_last = list(ours.order_by("-registered_at").values_list("id", flat=True))
    PushToken.objects.filter(id__in=kept_last[MAX_PUSH_TOKENS:]).delete()


def _lock_live_session(session_id: UUID, *, now: datetime) -> Session:
    """The session, which cannot end until the transaction commits."""
    session = find_session(session_id, now=now)
    live = Session.objects.live(now).select_for_update(no_key=True)
    held = live.filter(id=session.id).first() if session else None
    if held is None:
        raise Unauthorized
    return held


def unregister_push_token(*, user_id: UUID, token: str) -> None:
    """Stop pushes to this phone. Another user's token is not touched."""
    PushToken.objects.filter(user_id=user_id, token__in={token, token.lower()}).delete()
