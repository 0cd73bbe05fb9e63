"""Installations of the app, and the keys of their hardware."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.db.models import F, Q

from accounts import installations
from accounts.models.users import User
from rendio.common.querysets import OwnedQuerySet


class DeviceQuerySet(OwnedQuerySet["Device"]):
    def named(self, name: UUID | str) -> DeviceQuerySet:
        """The device with this device_id or public id. For the few devices of one user."""
        if isinstance(name, UUID):
            return self.filter(device_id=name)
        # Rows of the release before have no stored public id until the sweep.
        unnamed = self.filter(stored_public_id="").only("device_id")
        computed = [device.device_id for device in unnamed if device.public_id == name]
        return self.filter(Q(stored_public_id=name) | Q(device_id__in=computed))


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
    # Keyed hash of the installation's secret; empty: a row of the release before, which has none.
    secret_hash = models.CharField(max_length=255, blank=True, default="", db_default="")
    # Read `public_id` instead: a row of the release before has none until the sweep.
    stored_public_id = models.CharField(
        max_length=installations.PUBLIC_ID_LENGTH, blank=True, default="", db_default=""
    )
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    objects = DeviceQuerySet.as_manager()

    class Meta:
        indexes = [
            # Staff search by the id that logs and lists show; the sweep searches for empty ones.
            models.Index(fields=["stored_public_id"], name="accounts_device_public_id"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """The short keyed hash that is shown, logged and exported instead of `device_id`."""
        return self.stored_public_id or installations.public_id(self.device_id)


class AttestedKey(models.Model):
    """A key in the hardware of an Apple device, which Apple has found to be our app's.

    Its row lock orders its uses. It speaks for the installation that it was attested for and for no
    other; a device may have several, since a phone that is restored from a backup makes a new one.
    """

    # Base64 of the SHA-256 of the public key, as the phone names it.
    key_id = models.CharField(max_length=44, primary_key=True)
    device_id = models.UUIDField()
    # Of the secret that came with the attestation; empty: a key of the release before, which no
    # longer counts.
    secret_hash = models.CharField(max_length=255, blank=True, default="", db_default="")
    app_id = models.CharField(max_length=255)
    public_key = models.BinaryField(help_text="Uncompressed P-256 point.")
    receipt = models.BinaryField(
        help_text="For Apple's fraud metric. Apple sends the receipt only once."
    )
    # Of the last use; each must have a higher one. Apple's is of 32 bits, without a sign.
    counter = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # An account that goes takes the keys of its devices along.
            models.Index(fields=["device_id"], name="accounts_key_device"),
            # The sweep of keys that no device check was signed with.
            models.Index(
                F("created_at"), condition=Q(last_used_at=None), name="accounts_key_unused"
            ),
        ]

    def __str__(self) -> str:
        return self.key_id
