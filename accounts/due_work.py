"""The background work of accounts: due rows, queues, and how often beat looks."""

from __future__ import annotations

from accounts.models import AppleRevocation, BanBit, Push, WelcomeClaim
from rendio.common.background.due_work import DueRows, DueWork

GRANT_WELCOMES = DueWork(
    "accounts.give_welcomes",
    DueRows("welcome claims", lambda: WelcomeClaim.objects.filter(granted_at=None)),
    every_seconds=1,
    batch=20,
)
SET_BAN_BITS = DueWork(
    "accounts.set_ban_bits",
    DueRows("ban bits", lambda: BanBit.objects.filter(wanted__isnull=False)),
    every_seconds=10,
    batch=20,
)
REVOKE_AT_APPLE = DueWork(
    "accounts.revoke_at_apple",
    DueRows("apple revocations", AppleRevocation.objects.all),
    every_seconds=60,
    batch=20,
)
SEND_PUSHES = DueWork(
    "accounts.send_pushes",
    DueRows("pushes", Push.objects.all),
    # It waits for Apple, and no cancellation may wait behind it.
    queue="medium",
    every_seconds=5,
    # With 4 threads and at most 13 seconds for each push, a batch takes less than a minute.
    batch=12,
)
PURGE = DueWork("accounts.sweep", every_seconds=60, is_periodic=True)
