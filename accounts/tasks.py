"""The Celery tasks of accounts: importing the handlers makes them
(rendio.common.background.due_work).
"""

from __future__ import annotations

from datetime import datetime

from accounts import services
from accounts.due_work import PURGE
from accounts.push import outbox, sending  # noqa: F401
from rendio.common.background import purge
from rendio.common.background.due_rows import drain, run_all
from rendio.common.background.due_work import due_batch


@due_batch(PURGE)
def purge_accounts(*, now: datetime) -> None:
    run_all(
        lambda: purge.run_deletes(
            lambda: services.purge_sessions(now=now),
            lambda: services.purge_used_tokens(now=now),
            lambda: services.purge_claims(now=now),
            lambda: services.purge_unused_keys(now=now),
            lambda: services.purge_device_tokens(now=now),
            lambda: services.purge_person_keys(now=now),
            lambda: outbox.purge_pushes(now=now),
        ),
        lambda: drain(services.fill_public_ids, batch=services.PUBLIC_IDS_BATCH),
    )
