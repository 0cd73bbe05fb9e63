"""Withdrawn parental consents."""

from __future__ import annotations

from django.db import models


class WithdrawnConsent(models.Model):
    """A guardian has withdrawn the consent for a child's Apple account (RESCIND_CONSENT)."""

    app_transaction_id = models.CharField(
        primary_key=True,
        max_length=50,
        help_text="The same for all purchases of an Apple account.",
    )
    withdrawn_at = models.DateTimeField(help_text="Time of Apple's signature.")

    def __str__(self) -> str:
        return self.app_transaction_id
