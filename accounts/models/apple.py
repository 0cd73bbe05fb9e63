"""Who people are to Apple."""

from __future__ import annotations

from django.db import models

from accounts.models.users import User
from rendio.common.due import DueRow
from rendio.common.ids import uuid7


class AppleIdentity(models.Model):
    """Whose account an Apple account signs in to. Its row lock orders sign-ins with it."""

    # Apple's name for the person, the same in all apps of our team.
    sub = models.CharField(max_length=255, unique=True)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="apple_identity")
    client_id = models.CharField(max_length=255, help_text="The app that the user signed in to.")
    email = models.EmailField(null=True, blank=True)  # noqa: DJ001
    email_verified = models.BooleanField(default=False)
    is_private_email = models.BooleanField(default=False)
    relay_enabled = models.BooleanField(
        default=True, help_text="Apple forwards e-mail to the private relay address."
    )
    # Kept to be revoked when the account is deleted (accounts.apple.identity_tokens.encrypt); may
    # be empty.
    refresh_token_encrypted = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    last_sign_in_at = models.DateTimeField()
    # Consent was withdrawn at Apple. The next sign-in gives it again, and the account is there.
    unlinked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "Apple identities"

    def __str__(self) -> str:
        return self.sub


class AppleRevocation(DueRow):
    """The refresh token of an account that was deleted, until Apple has revoked it. Whose it was is
    not known any more."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    token_encrypted = models.TextField()
    client_id = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(db_index=True)  # always: the row goes once it is done

    def __str__(self) -> str:
        return f"since {self.created_at:%Y-%m-%d}, {self.tries} tries"


class UsedToken(models.Model):
    """An identity token that has been signed in with, a notice that has been taken in, a challenge
    that has been answered.

    Each is good once; kept until it would no longer be believed anyway.
    """

    name = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_spenttoken"
        # The sweep of expired ones.
        indexes = [models.Index(fields=["expires_at"], name="accounts_spent_expires")]

    def __str__(self) -> str:
        return self.name
