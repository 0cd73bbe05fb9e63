"""Apple's second bit of a phone: this hardware is banned."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from rendio.common.due import DueRow


class BanBit(DueRow):
    """What we want Apple to keep of a phone, and the latest token to tell it with.

    Only a device token leads to the hardware, and only the phone can make one. So each check leaves
    its token here for settings.DEVICE_TOKEN_HOURS: a ban then reaches the hardware although the
    phone is never seen again under this name.
    """

    device_id = models.UUIDField(primary_key=True)
    # accounts.apple.identity_tokens.encrypt; empty once Apple has refused it.
    device_token_encrypted = models.TextField(blank=True)
    received_at = models.DateTimeField()
    # What the bit is to become; None where it is as it should be. Without a token that Apple takes
    # it waits for the next check of the device.
    wanted = models.BooleanField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="accounts_ban_bit_due"
            ),
            # The sweep of tokens that have served their time.
            models.Index(
                fields=["received_at"], condition=Q(wanted=None), name="accounts_ban_bit_received"
            ),
        ]

    def __str__(self) -> str:
        return {None: "as it is", True: "to be set", False: "to be cleared"}[self.wanted]
