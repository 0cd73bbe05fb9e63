"""Apple's second bit of a phone: the hardware is banned."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from rendio.common.background.due_rows import DueRow


class BanBit(DueRow):
    """The bit that Apple should keep for a phone, and the latest token to send it with.

    Only a device token identifies hardware, and only the phone can make one. So each check stores
    its token for settings.DEVICE_TOKEN_HOURS, so a ban reaches the hardware even if the phone never
    returns under this device_id.
    """

    device_id = models.UUIDField(primary_key=True)
    # accounts.apple.identity_tokens.encrypt; empty once Apple has refused it.
    device_token_encrypted = models.TextField(blank=True)
    received_at = models.DateTimeField()
    # The bit to write; None if Apple has it already. Without a valid token the row waits for the
    # next check of the device.
    wanted = models.BooleanField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="accounts_ban_bit_due"
            ),
            # The purge of old tokens.
            models.Index(
                fields=["received_at"], condition=Q(wanted=None), name="accounts_ban_bit_received"
            ),
        ]

    def __str__(self) -> str:
        return {None: "as it is", True: "to be set", False: "to be cleared"}[self.wanted]
