"""What generation does when accounts tells it something: in the sender's transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.signals import users_merged
from generation.models import Job, Quote


def connect() -> None:
    users_merged.connect(move_to_account, dispatch_uid="generation")


def move_to_account(*, from_user_id: UUID, into_user_id: UUID, **_: Any) -> None:
    """The guest's jobs, running and ended, and its quotes are the account's.

    Both wallets are locked: nobody orders meanwhile, and a job's end waits for us.
    """
    Job.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    Quote.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
