"""Recognise one person in several users by their Apple account, at a sign-in or a purchase.

A guest who reinstalls the app, or an account that is deleted and made again, is a new user. Limits
per person (generation.exposure) count all of them together. Only keyed hashes are stored. A new
SECRET_KEY changes all keys: relations are learnt again from then on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.utils.crypto import salted_hmac

from accounts.models import PersonKey, User
from accounts.signals import person_returned
from rendio.common.background import purge

# The longest window in which something counts per person.
RETENTION = timedelta(days=365)
# `seen_at` of a known key is updated at most this often.
SEEN_AT_PRECISION = timedelta(days=1)


class PersonKeyKind(StrEnum):
    """The kind of value that a key is a hash of."""

    APPLE_ACCOUNT = "apple account"  # `sub` of Sign in with Apple
    APP_TRANSACTION = "app transaction"  # the Apple account that bought or got the app


def link_person(*, user_id: UUID, of: PersonKeyKind, value: str, now: datetime) -> None:
    """Store that the user has this Apple account. If earlier accounts of it were deleted, their
    remaining limits apply to this user (person_returned).

    Joins the caller's transaction. Idempotent.
    """
    key = salted_hmac("rendio.person", f"{of} {value}", algorithm="sha256").hexdigest()
    known, is_new = PersonKey.objects.get_or_create(
        user_id=user_id, key=key, defaults={"seen_at": now}
    )
    if is_new:
        former = PersonKey.objects.filter(key=key, user__closed_at__isnull=False)
        former_ids = list(former.exclude(user_id=user_id).values_list("user_id", flat=True))
        if former_ids:
            person_returned.send(sender=User, user_id=user_id, former_user_ids=former_ids)
    if not is_new and known.seen_at < now - SEEN_AT_PRECISION:
        PersonKey.objects.filter(id=known.id).update(seen_at=now)


def move_keys(*, from_user_id: UUID, into_user_id: UUID) -> None:
    """Move a merged guest's keys to the account. Joins the caller's transaction, which has both
    users locked."""
    held = PersonKey.objects.filter(user_id=into_user_id, key=OuterRef("key"))
    keys = PersonKey.objects.filter(user_id=from_user_id)
    keys.filter(~Exists(held)).update(user_id=into_user_id)
    keys.delete()


def purge_person_keys(*, now: datetime) -> int:
    """Delete keys that were not seen for RETENTION; returns how many. Harmless twice or late."""
    return purge.delete_batch(
        PersonKey.objects.filter(seen_at__lte=now - RETENTION), order="seen_at"
    )
