"""Who is signed in, and where."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from accounts.models.devices import Device
from accounts.models.users import User
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet


class RevokedReason(models.TextChoices):
    """Why a session ended before its time."""

    LOGOUT = "logout"
    REUSE = "reuse"  # an old refresh token came again: somebody else may hold one
    BAN = "ban"
    OWNER = "owner"  # ended by its owner from the list, or with another session of that phone
    MERGE = "merge"  # of a guest who became part of an account
    DELETION = "deletion"  # its owner has left
    APPLE = "apple"  # consent was withdrawn at Apple
    SUPPORT = "support"  # somebody else may hold the phone
    SIGN_IN = "sign_in"  # its user has signed in with Apple in another session
    MANY = "many"  # its user has opened many others since


class SessionQuerySet(OwnedQuerySet["Session"]):
    def live(self, now: datetime) -> SessionQuerySet:
        """Those that a refresh goes on with."""
        return self.filter(revoked_at=None, continued_by=None, expires_at__gt=now)


class Session(models.Model):
    """One sign-in and all refresh tokens that follow from it.

    One row for all of them: its lock orders refreshes, and revoking the family is one update.
    Tokens are stored as SHA-256 only.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    device = models.ForeignKey(
        Device, null=True, on_delete=models.SET_NULL, related_name="sessions"
    )
    refresh_hash = models.CharField(max_length=64)
    # The token that the last rotation replaced. For the grace it may come again: its answer was
    # lost.
    previous_hash = models.CharField(max_length=64, blank=True, default="")
    # Successors that were handed out within a grace and then replaced unused: {hash: epoch
    # seconds}.
    superseded_hashes = models.JSONField(default=dict)
    # A sign-in opens a new session; the last refresh token of this one leads there for the grace.
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
            # Every process asks every few seconds who was revoked lately; the sweep asks too.
            models.Index(
                "revoked_at", condition=Q(revoked_at__isnull=False), name="accounts_session_revoked"
            ),
            # The sweep's other question.
            models.Index("expires_at", name="accounts_session_expires"),
        ]

    def __str__(self) -> str:
        return str(self.id)
