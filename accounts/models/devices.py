"""Phones, and which of them have had the welcome credits."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.db.models import Exists, OuterRef, Q

from accounts.models.people import User
from rendio.common.owned import OwnedQuerySet


class Device(models.Model):
    """An installation of the app, and whose it is now. A person may have several.

    It is nobody's once an account has signed out on it: the next device check makes a guest, and
    the phone belongs to whoever signs in then.
    """

    # The phone's own name for the installation; a reinstall brings a new one.
    device_id = models.UUIDField(primary_key=True)
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="devices"
    )
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    objects = OwnedQuerySet["Device"].as_manager()

    def __str__(self) -> str:
        return str(self.device_id)


class WelcomeClaimQuerySet(models.QuerySet["WelcomeClaim"]):
    def about(self, *, device_id: UUID, token_hash: str) -> WelcomeClaimQuerySet:
        """The claims of this installation or of this very token, in the order to lock them."""
        return self.filter(Q(device_id=device_id) | Q(token_hash=token_hash)).order_by("token_hash")

    def decided(self) -> WelcomeClaimQuerySet:
        """Those whose credits were given, or whose installation has its user.

        The latter were decided with that user: what a parallel call left behind earns nothing more.
        """
        has_user = Exists(Device.objects.filter(device_id=OuterRef("device_id")))
        return self.filter(Q(granted_at__isnull=False) | has_user)


class WelcomeClaim(models.Model):
    """Written before Apple is told that a device has had its welcome, and never deleted.

    Apple's bit alone cannot tell whether we gave the credits or died between the bit and our
    commit. With this row we know that the bit may be ours, and go on where we stopped.
    """

    # SHA-256 of Apple's device token: one token is one piece of hardware, whatever device_id it
    # comes with.
    token_hash = models.CharField(max_length=64, primary_key=True)
    device_id = models.UUIDField()
    started_at = models.DateTimeField()
    # How many of our calls that set the bit may have had their effect. With 0 a bit that is set was
    # set by another claim, which gave the credits or will.
    updates_in_doubt = models.PositiveIntegerField(default=0)
    granted_at = models.DateTimeField(null=True)
    user = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="welcome_claims"
    )

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
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.started_at:%Y-%m-%d}"


class AttestedKey(models.Model):
    """A key in the hardware of an Apple device, which Apple has found to be our app's.

    Its row lock orders its uses. It speaks for the device that it was attested for and for no
    other; a device may have several, since a phone that is restored from a backup makes a new one.
    """

    # Base64 of the SHA-256 of the public key, as the phone names it.
    key_id = models.CharField(max_length=44, primary_key=True)
    device_id = models.UUIDField()
    app_id = models.CharField(max_length=255)
    public_key = models.BinaryField(help_text="The point on P-256, uncompressed.")
    receipt = models.BinaryField(help_text="For Apple's fraud metric; not to be had later.")
    # Of the last use; each must have a higher one. Apple's is of 32 bits, without a sign.
    counter = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # An account that goes takes the keys of its devices along.
            models.Index(fields=["device_id"], name="accounts_key_device"),
        ]

    def __str__(self) -> str:
        return self.key_id
