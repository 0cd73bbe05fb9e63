"""Export of a user's data: one JSON object with a section for each kind of data.

Higher apps register their sections at start (AppConfig.ready). A section returns one object or an
iterable of rows, ready for JSON. Secrets (hashes, tokens, keys) are never exported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.db.models import Max
from django.utils.translation import gettext as _
from rest_framework.utils.encoders import JSONEncoder

from accounts import installations, queries
from accounts.models import (
    AppleIdentity,
    AttestedKey,
    BanBit,
    Consent,
    Device,
    PersonKey,
    Push,
    PushToken,
    Session,
    WelcomeClaim,
)
from accounts.services import related_users
from credits import exports as credit_exports
from rendio.common.times import iso

Row = dict[str, Any]
Section = Callable[[UUID], Row | Iterable[Row]]


def register(name: str, section: Section) -> None:
    """Append a section to every export."""
    if _sections.get(name, section) is not section:
        raise ValueError(f"there is a section {name} already")
    _sections[name] = section


# A longer export is written to a temporary file.
IN_MEMORY_BYTES = 1_000_000


def export_user(user_id: UUID, *, now: datetime) -> IO[bytes]:
    """The JSON as a file that the reader closes. Raises Unauthorized if the account is closed.

    Rows are streamed into the file (1 MB for about 2,000 jobs); at most IN_MEMORY_BYTES stay in
    memory. The file is complete before the response starts, so that Content-Length is known: a
    broken stream would look like the whole export.
    """
    queries.get_profile(user_id)
    into = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 (its reader does)
    try:
        _write(into, user_id, now=now)
    except BaseException:
        into.close()
        raise
    into.seek(0)
    return into


def _write(into: IO[bytes], user_id: UUID, *, now: datetime) -> None:
    into.write(b'{"exported_at": ' + _dump(iso(now)))
    for name, section in _sections.items():
        into.write(b",\n" + _dump(name) + b": ")
        content = section(user_id)
        if isinstance(content, dict):
            into.write(_dump(content))
            continue
        into.write(b"[")
        for number, row in enumerate(content):
            into.write((b",\n" if number else b"\n") + _dump(row))
        into.write(b"]")
    into.write(b"}\n")


def _dump(value: Any) -> bytes:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False).encode()


def _profile(user_id: UUID) -> Row:
    user = queries.get_profile(user_id).user
    return {
        "id": user.id,
        "email": user.email,
        "is_guest": user.is_guest,
        "tier": user.tier,
        "tier_until": iso(user.tier_until),
        "language": user.language,
        "language_changed_at": iso(user.language_changed_at),
        "theme_preference": user.theme_preference,
        "tos_version": user.tos_version,
        "welcomed_at": iso(user.welcomed_at),
        "created_at": iso(user.created_at),
        "updated_at": iso(user.updated_at),
    }


def _devices(user_id: UUID) -> Iterable[Row]:
    devices = Device.objects.filter(user_id=user_id)
    keys = AttestedKey.objects.filter(device_id__in=devices.values("device_id"))
    attested_at = dict(keys.values_list("device_id").annotate(Max("created_at")))
    for device in devices.order_by("created_at"):
        yield {
            "device_id": device.public_id,
            "created_at": iso(device.created_at),
            "last_seen_at": iso(device.last_seen_at),
            "attested_at": iso(attested_at.get(device.device_id)),
        }


def _apple_identities(user_id: UUID) -> Iterable[Row]:
    for apple in AppleIdentity.objects.filter(user_id=user_id):
        yield {
            "apple_user_id": apple.sub,
            "email": apple.email,
            "is_private_email": apple.is_private_email,
            "created_at": iso(apple.created_at),
            "last_sign_in_at": iso(apple.last_sign_in_at),
        }


def _welcomes(user_id: UUID) -> Iterable[Row]:
    devices = Device.objects.filter(user_id=user_id)
    public_ids = {device.device_id: device.public_id for device in devices}
    for claim in WelcomeClaim.objects.filter(user_id=user_id).order_by("started_at"):
        yield {
            "device_id": public_ids.get(claim.device_id)
            or installations.public_id(claim.device_id),
            "started_at": iso(claim.started_at),
            "granted_at": iso(claim.granted_at),
        }


def _kept_against_fraud(user_id: UUID) -> Iterable[Row]:
    """Data that is kept against fraud and not shown: each with an explanation."""
    for key in PersonKey.objects.filter(user_id=user_id).order_by("seen_at"):
        yield {
            "kind": "apple_account",
            "explanation": _(
                "A code made from your Apple account. It recognises the same Apple account in"
                " other Rendio accounts, also after this account is deleted, to prevent fraud. It"
                " cannot be turned back into your Apple account."
            ),
            "last_seen_at": iso(key.seen_at),
            "kept_until": iso(key.seen_at + related_users.RETENTION),
        }
    devices = Device.objects.filter(user_id=user_id).values("device_id")
    kept = BanBit.objects.filter(device_id__in=devices).exclude(device_token_encrypted="")
    for token in kept.order_by("received_at"):
        lasts = timedelta(hours=settings.DEVICE_TOKEN_HOURS)
        yield {
            "kind": "device_token",
            "explanation": _(
                "An encrypted code by which Apple knows your iPhone. With it a ban of the iPhone"
                " can be stored at Apple or removed there."
            ),
            "last_seen_at": iso(token.received_at),
            # A bit that Apple does not have yet needs the token for longer.
            "kept_until": iso(token.received_at + lasts) if token.wanted is None else None,
        }


def _sessions(user_id: UUID) -> Iterable[Row]:
    sessions = Session.objects.filter(user_id=user_id).select_related("device")
    for session in sessions.order_by("id").iterator():
        yield {
            "session_id": session.id,
            "device_id": session.device.public_id if session.device else None,
            "created_at": iso(session.created_at),
            "last_used_at": iso(session.last_used_at),
            "expires_at": iso(session.expires_at),
            "revoked_at": iso(session.revoked_at),
            "revoked_reason": session.revoked_reason or None,
        }


def _consents(user_id: UUID) -> Iterable[Row]:
    for record in Consent.objects.filter(user_id=user_id).order_by("id").iterator():
        yield {
            "kind": record.kind,
            "version": record.version,
            "granted": record.granted,
            "providers": record.providers,
            "recorded_at": iso(record.recorded_at),
        }


def _push_tokens(user_id: UUID) -> Iterable[Row]:
    for one in PushToken.objects.filter(user_id=user_id).order_by("registered_at"):
        yield {
            "token": one.token,
            "platform": one.platform,
            "environment": one.environment,
            "registered_at": iso(one.registered_at),
        }


def _notifications(user_id: UUID) -> Iterable[Row]:
    for push in Push.objects.filter(user_id=user_id).order_by("id").iterator():
        yield {
            "kind": push.kind,
            "job_id": push.job_id,
            "created_at": iso(push.created_at),
            "outcome": push.outcome or None,
            "ended_at": iso(push.ended_at),
        }


_sections: dict[str, Section] = {
    "profile": _profile,
    "sign_in_with_apple": _apple_identities,
    "devices": _devices,
    "welcomes": _welcomes,
    "kept_against_fraud": _kept_against_fraud,
    "sessions": _sessions,
    "consents": _consents,
    "push_tokens": _push_tokens,
    "notifications": _notifications,
    "wallet": credit_exports.export_wallet,
    "lots": credit_exports.export_lots,
    "ledger": credit_exports.export_entries,
    "promotion_codes": credit_exports.export_redemptions,
}
