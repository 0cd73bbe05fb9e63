"""Sessions of users on devices."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from accounts.models.devices import Device
from accounts.models.users import User
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet


class RevokedReason(models.TextChoices):
    """Why a session ended early."""

    LOGOUT = "logout", "Signed out"
    REUSE = "reuse", "Refresh token reused"  # an old refresh token was used: it may be stolen
    BAN = "ban", "Banned"
    OWNER = "owner", "Ended by user"  # by the user, or with another session of that phone
    MERGE = "merge", "Merged"  # its guest was merged into an account
    DELETION = "deletion", "Account deleted"  # its account was deleted
    APPLE = "apple", "Consent withdrawn"  # at Apple
    SUPPORT = "support", "Ended by support"  # the phone may be lost
    SIGN_IN = "sign_in", "Another sign-in"  # the user signed in with Apple in another session
    MANY = "many", "Too many sessions"  # the user has opened many others since


class SessionQuerySet(OwnedQuerySet["Session"]):
    def live(self, now: datetime) -> SessionQuerySet:
        """Sessions that can be refreshed."""
        return self.filter(revoked_at=None, continued_by=None, expires_at__gt=now)


class Session(models.Model):
    """One sign-in and all refresh tokens descended from it.

    One row for all of them: its lock serializes refreshes, and one update revokes them all. Only
    SHA-256 hashes of tokens are stored.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    device = models.ForeignKey(
        Device, null=True, on_delete=models.SET_NULL, related_name="sessions"
    )
    refresh_hash = models.CharField(max_length=64)
    # The token that the last rotation replaced. Accepted for the grace period: the response may be
    # lost.
    previous_hash = models.CharField(max_length=64, blank=True, default="")
    # Successors that were issued within a grace period and replaced unused: {hash: epoch seconds}.
    superseded_hashes = models.JSONField(default=dict)
    # A sign-in opens a new session; this session's last refresh token leads there for the grace
    # period.
    continued_by = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="continues"
    )
    generation = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    revoked_reason = models.CharField(
        max_length=10, choices=RevokedReason.choices, blank=True, default=""
    )

    objects = SessionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True) | ~Q(revoked_reason=""),
                name="accounts_revocation_has_its_reason",
            ),
        ]
        indexes = [
            # Every process reads recent revocations every few seconds; so does the purge.
            models.Index(
                "revoked_at", condition=Q(revoked_at__isnull=False), name="accounts_session_revoked"
            ),
            # The purge of expired sessions.
            models.Index("expires_at", name="accounts_session_expires"),
        ]

    def __str__(self) -> str:
        return str(self.id)
