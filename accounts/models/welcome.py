"""Claims to the welcome credits, and the turn to set Apple's bits."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.db.models import Exists, OuterRef, Q

from accounts import installations
from accounts.models.devices import Device
from accounts.models.users import User
from rendio.common.background.due_rows import DueRow


class WelcomeClaimQuerySet(models.QuerySet["WelcomeClaim"]):
    def about(self, *, device_id: UUID, token_hash: str) -> WelcomeClaimQuerySet:
        """The claims of this installation or of this token, in locking order."""
        return self.filter(Q(device_id=device_id) | Q(token_hash=token_hash)).order_by("token_hash")

    def decided(self) -> WelcomeClaimQuerySet:
        """Claims whose credits were granted, or whose installation has its user.

        The latter were decided with that user: a parallel call's leftover earns nothing more,
        unless the user was let in to wait for the credits.
        """
        has_user = Exists(Device.objects.filter(device_id=OuterRef("device_id")))
        return self.filter(Q(granted_at__isnull=False) | (has_user & Q(is_user_waiting=False)))


class WelcomeClaim(DueRow):
    """A phone that had no welcome yet, as Apple says. Written before the bit is set at Apple.

    Apple's bit alone cannot tell whether we granted the credits or died between the bit and our
    commit. This row says that the bit may be ours, so that we can continue. A claim that led to a
    grant is never deleted.

    It is due to a worker while its user waits for the credits, and while the call that had its turn
    may have died.
    """

    # SHA-256 of Apple's device token: one token is one piece of hardware, whatever device_id it
    # comes with.
    token_hash = models.CharField(max_length=64, primary_key=True)
    device_id = models.UUIDField()
    # The latest token of the phone (accounts.apple.identity_tokens.encrypt), while Apple may have
    # to be asked again without the phone; else empty.
    device_token_encrypted = models.TextField(blank=True, default="", db_default="")
    started_at = models.DateTimeField()
    # How many of our calls that set the bit may have taken effect. At 0, a set bit was set for
    # another claim.
    updates_in_doubt = models.PositiveIntegerField(default=0)
    # Apple has set the bit for this claim and for no other: the credits are the installation's.
    won_at = models.DateTimeField(null=True)
    # The installation's user was let in without the credits, which come later.
    is_user_waiting = models.BooleanField(default=False, db_default=False)
    granted_at = models.DateTimeField(null=True)
    user = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="welcome_claims"
    )
    tries = models.PositiveIntegerField(default=0, db_default=0)

    objects = WelcomeClaimQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(granted_at__isnull=False) | Q(user__isnull=True),
                name="accounts_claim_has_no_user_before_its_grant",
            ),
        ]
        indexes = [
            # A retry of the same installation brings a new token.
            models.Index("device_id", name="accounts_claim_device"),
            models.Index("due_at", condition=Q(due_at__isnull=False), name="accounts_claim_due"),
            # The purge of claims without a result.
            models.Index("started_at", condition=Q(granted_at=None), name="accounts_claim_open"),
        ]

    def __str__(self) -> str:
        return f"{installations.public_id(self.device_id)} {self.started_at:%Y-%m-%d}"


TURN_ID = 1


class WelcomeTurn(models.Model):
    """The single row that says which claim, or ban, may have Apple's bits set.

    Apple has no compare-and-set and does not say which tokens are one phone. So one claim at a time
    goes from reading the bit to having set it (accounts.services.welcome).
    """

    id = models.SmallIntegerField(primary_key=True, default=TURN_ID, editable=False)
    claim = models.ForeignKey(WelcomeClaim, null=True, on_delete=models.PROTECT, related_name="+")
    # Counts the turns: the bit is read again only if a turn began since.
    number = models.BigIntegerField(default=0)
    # Afterwards the call that has the turn may have died, and any other may finish it. Without a
    # claim: the bits of a ban are being written.
    leased_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=TURN_ID), name="accounts_turn_one_row"),
        ]

    def __str__(self) -> str:
        return f"turn {self.number}"
