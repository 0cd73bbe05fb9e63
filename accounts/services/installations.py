"""Proof that a call comes from the installation that its device_id names.

The app generates a secret once and sends it with each device check. The first check of a device_id
stores the keyed hash; later checks must match it. Rows of the previous release have no hash: such a
device_id accepts a secret that comes with a live session on the device, or any secret until
settings.INSTALLATION_SECRET_GRACE_UNTIL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings

from accounts import installations
from accounts.errors import InvalidDevice
from accounts.models import Device
from accounts.services.sessions import find_session

BATCH = 1000


@dataclass(frozen=True)
class InstallationProof:
    """The proof of an installation in a device check."""

    secret: str = field(repr=False)
    # Session of the access token that was sent along, if any.
    session_id: UUID | None = None


def check_proof(*, device_id: UUID, proof: InstallationProof, now: datetime) -> Device | None:
    """Refuse a known device_id without its secret; returns its device.

    Changes nothing: `verify_and_store_secret` checks again under the locks. An unknown device_id
    passes and returns None. Raises InvalidDevice.
    """
    device = Device.objects.filter(device_id=device_id).first()
    if device is not None and not _is_proven(device, proof, now=now):
        raise unproven()
    return device


def find_proven_device(*, device_id: UUID, secret: str) -> str | None:
    """The public id of the known device that has this secret, else None."""
    device = Device.objects.filter(device_id=device_id).first()
    if device is None or not (device.secret_hash and _matches(device, secret)):
        return None
    return device.public_id


def verify_and_store_secret(device: Device, *, proof: InstallationProof, now: datetime) -> None:
    """Check the proof of a known device, and store its secret if none is stored.

    Of two secrets that arrive at once, the first one stored wins. Joins the caller's transaction.
    Raises InvalidDevice, and Device.DoesNotExist if the device was deleted meanwhile.
    """
    device.refresh_from_db(fields=["secret_hash"])
    if not _is_proven(device, proof, now=now):
        raise unproven()
    if device.secret_hash and installations.has_current_key(device.secret_hash):
        return
    new_hash = installations.hash_secret(device_id=device.device_id, secret=proof.secret)
    unchanged = Device.objects.filter(device_id=device.device_id, secret_hash=device.secret_hash)
    if not unchanged.update(secret_hash=new_hash):
        device.refresh_from_db(fields=["secret_hash"])
        if not _matches(device, proof.secret):
            raise unproven()


def check_stored_secret(*, device_id: UUID, secret: str) -> None:
    """Raise InvalidDevice if another secret is stored for this device_id."""
    device = Device.objects.filter(device_id=device_id).first()
    if device and device.secret_hash and not _matches(device, secret):
        raise unproven()


def unproven() -> InvalidDevice:
    return InvalidDevice(problem="installation_unproven")


def fill_public_ids(*, limit: int = BATCH) -> int:
    """Store the public id of devices of the previous release, which have none.

    Returns how many had none, at most `limit`.
    """
    missing = list(Device.objects.filter(stored_public_id="").only("device_id")[:limit])
    for device in missing:
        device.stored_public_id = installations.public_id(device.device_id)
    Device.objects.bulk_update(missing, ["stored_public_id"])
    return len(missing)


def _is_proven(device: Device, proof: InstallationProof, *, now: datetime) -> bool:
    if device.secret_hash:
        return _matches(device, proof.secret)
    until = settings.INSTALLATION_SECRET_GRACE_UNTIL
    return (until is not None and now < until) or _is_signed_in(device, proof, now=now)


def _matches(device: Device, secret: str) -> bool:
    return installations.secret_matches(
        device.secret_hash, device_id=device.device_id, secret=secret
    )


def _is_signed_in(device: Device, proof: InstallationProof, *, now: datetime) -> bool:
    """Whether the session sent along is live, on this device, and of its user."""
    session = find_session(proof.session_id, now=now) if proof.session_id else None
    if session is None or device.user_id is None:
        return False
    return session.device_id == device.device_id and session.user_id == device.user_id
