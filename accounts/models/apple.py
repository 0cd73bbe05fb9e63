"""Identities at Apple, and tokens that count once."""

from __future__ import annotations

from django.db import models

from accounts.models.users import User
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7


class AppleIdentity(models.Model):
    """The account that an Apple account signs in to. Its row lock orders sign-ins."""

    # Apple's id of the person, the same in all apps of our team.
    sub = models.CharField(max_length=255, unique=True)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="apple_identity")
    client_id = models.CharField(max_length=255, help_text="The app that the user signed in to.")
    email = models.EmailField(null=True, blank=True)  # noqa: DJ001
    email_verified = models.BooleanField(default=False)
    is_private_email = models.BooleanField(default=False)
    relay_enabled = models.BooleanField(
        default=True, help_text="Apple forwards e-mail to the private relay address."
    )
    # Revoked at Apple when the account is deleted (accounts.apple.identity_tokens.encrypt); may be
    # empty.
    refresh_token_encrypted = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    last_sign_in_at = models.DateTimeField()
    # Consent was withdrawn at Apple. The next sign-in restores it.
    unlinked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "Apple identities"

    def __str__(self) -> str:
        return self.sub


class AppleRevocation(DueRow):
    """The refresh token of a deleted account, until Apple has revoked it. The row does not say
    whose it was."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    token_encrypted = models.TextField()
    client_id = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(db_index=True)  # never empty: a finished row is deleted

    def __str__(self) -> str:
        return f"since {self.created_at:%Y-%m-%d}, {self.tries} tries"


class UsedToken(models.Model):
    """The name of an identity token, event or challenge that has been used.

    Each counts once. A name is kept until its token has expired.
    """

    name = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_spenttoken"
        # The purge of expired names.
        indexes = [models.Index(fields=["expires_at"], name="accounts_spent_expires")]

    def __str__(self) -> str:
        return self.name
