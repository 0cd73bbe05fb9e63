"""Bans that survive a reinstall: Apple's second bit marks banned hardware.

A ban sets the bit on each phone of the user, an unban clears it. The wanted bit is a due row
(BanBit): a worker sends it to Apple with the phone's latest token. If Apple refuses the token, the
next check of the phone brings another. A guest on a marked phone has a suspended wallet and cannot
sign in with Apple (else the ban would end there). Support lifts the mark by unbanning that guest.

At least once: the bit may be written twice. Apple takes both bits together, so a write takes the
turn of the welcome (services.welcome), one at a time: a concurrent first welcome of the same
hardware neither erases the ban nor restores a lifted one. The welcome bit is set along with it: a
phone that was banned or unbanned gets no welcome afterwards.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.apple import device_check, identity_tokens
from accounts.apple.device_check import Bits
from accounts.due_work import SET_BAN_BITS
from accounts.errors import IdentityServiceUnavailable, InvalidDevice
from accounts.models import BanBit, Device, Session, User
from accounts.services.welcome import TurnUnavailable, reserve_bits
from credits import services as credit_services
from rendio.common.background import purge
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)


def is_banned(bits: Bits, *, device_id: UUID) -> bool:
    """Whether this hardware is banned: by the wanted bit if there is one, else by Apple's bit."""
    known = BanBit.objects.filter(device_id=device_id, wanted__isnull=False)
    wanted: bool | None = known.values_list("wanted", flat=True).first()
    return bits.bit1 if wanted is None else wanted


def store_token(*, device_id: UUID, device_token: str, now: datetime) -> None:
    """Store the token of a check for a later ban, and continue with a wanted bit.

    Joins the caller's transaction.
    """
    is_wanted = BanBit.objects.filter(device_id=device_id, wanted__isnull=False).exists()
    if not (is_wanted or settings.DEVICE_TOKEN_HOURS):
        return
    new = {"device_token_encrypted": identity_tokens.encrypt(device_token), "received_at": now}
    BanBit.objects.update_or_create(device_id=device_id, defaults=new)
    if is_wanted:
        _make_due(device_id, now=now)


def _make_due(device_id: UUID, *, now: datetime) -> None:
    rows = BanBit.objects.filter(device_id=device_id, wanted__isnull=False)
    if rows.exclude(device_token_encrypted="").update(due_at=now, tries=0):
        SET_BAN_BITS.wake_workers()


@transaction.atomic(durable=True)
def ban_device(*, device_id: UUID, device_token: str, now: datetime) -> None:
    """Mark hardware on which a banned user has checked in."""
    new = {"device_token_encrypted": identity_tokens.encrypt(device_token), "received_at": now}
    BanBit.objects.update_or_create(device_id=device_id, defaults=new | {"wanted": True})
    _make_due(device_id, now=now)


def schedule_ban_bits(*, user_id: UUID, is_banned: bool, now: datetime) -> None:
    """Have the bit set or cleared on all phones of the user. Joins the caller's transaction.

    Phones that the user signed out of are included, unless they have another user by now.
    """
    left = Session.objects.filter(user_id=user_id, device__user=None).values("device_id")
    devices = Device.objects.filter(Q(user_id=user_id) | Q(device_id__in=left))
    for device_id in devices.order_by("device_id").values_list("device_id", flat=True):
        BanBit.objects.update_or_create(
            device_id=device_id,
            defaults={"wanted": is_banned},
            create_defaults={"wanted": is_banned, "received_at": now},
        )
        _make_due(device_id, now=now)


def lock_wallet(device: Device, *, is_banned: bool) -> None:
    """Lock the wallet of the device's user if `sync_hardware_ban` will change it.

    Wallets are locked before users. Joins the caller's transaction.
    """
    user_id = device.user_id
    if user_id and (
        is_banned or User.objects.filter(id=user_id, hardware_banned_at__isnull=False).exists()
    ):
        credit_services.lock_wallet(user_id=user_id)


def sync_hardware_ban(user: User, *, is_banned: bool, now: datetime) -> None:
    """Suspend or resume a guest as the hardware is marked. For an account it is only noted, for
    support.

    Joins the caller's transaction, which has the wallet and then the user locked, or created both.
    """
    if is_banned and user.hardware_banned_at is None:
        user.hardware_banned_at = now
        user.save(update_fields=["hardware_banned_at", "updated_at"])
        logger.info("banned_hardware_seen", user_id=str(user.id), is_guest=user.is_guest)
        if user.is_guest:
            credit_services.suspend(user_id=user.id)
    elif not is_banned and user.hardware_banned_at and user.is_guest and not user.suspended_at:
        user.hardware_banned_at = None
        user.save(update_fields=["hardware_banned_at", "updated_at"])
        credit_services.resume(user_id=user.id)


def delete_device_tokens(device_ids: list[UUID]) -> None:
    """Delete the tokens of a deleted account's devices. A wanted ban waits for the phone; a wanted
    unban is deleted, since any phone may use the device_id from now on."""
    rows = BanBit.objects.filter(device_id__in=device_ids)
    rows.exclude(wanted=True).delete()
    rows.update(device_token_encrypted="", due_at=None)


@due_work(SET_BAN_BITS, stop_on=(IdentityServiceUnavailable, TurnUnavailable))
def write_ban_bit(row: BanBit, **_: object) -> None:
    """Have Apple set or clear the ban bit of a phone."""
    # Unless another bit is wanted or another token arrived meanwhile.
    unchanged = BanBit.objects.filter(
        device_id=row.device_id,
        wanted=row.wanted,
        device_token_encrypted=row.device_token_encrypted,
    )
    try:
        device_token = identity_tokens.decrypt(row.device_token_encrypted)
        with reserve_bits():
            device_check.update_bits(device_token, Bits(bit0=True, bit1=bool(row.wanted)))
    except (InvalidDevice, InvalidToken):
        unchanged.update(device_token_encrypted="", due_at=None)
        return
    unchanged.update(wanted=None, due_at=None)
    logger.info("ban_bit_set" if row.wanted else "ban_bit_cleared")


def purge_device_tokens(*, now: datetime) -> int:
    """Delete tokens after DEVICE_TOKEN_HOURS; returns how many."""
    until = now - timedelta(hours=settings.DEVICE_TOKEN_HOURS)
    rows = BanBit.objects.filter(wanted=None, received_at__lt=until)
    return purge.delete_batch(rows, order="received_at")
