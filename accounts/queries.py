"""Reads of users for other modules and apps."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from accounts.errors import ConsentRequired
from accounts.models import Consent, ConsentKind, Device, PersonKey, Session, Tier, User
from credits import services as credit_services
from rendio.common.errors import Unauthorized


@dataclass(frozen=True)
class Profile:
    user: User
    balance: credit_services.Balance


def get_profile(user_id: UUID) -> Profile:
    """Raises Unauthorized if the account is closed."""
    user = User.objects.filter(id=user_id, closed_at=None).first()
    if user is None:
        raise Unauthorized
    return Profile(user, credit_services.balance_of(user_id))


def lock_open_account(user_id: UUID) -> None:
    """Lock the user, who stays until the caller's transaction ends. Raises Unauthorized if the
    account is closed."""
    if not User.objects.select_for_update(no_key=True).filter(id=user_id, closed_at=None).exists():
        raise Unauthorized


# Records of a history that `get_consents` returns; an export has all.
MAX_CONSENT_HISTORY = 100


@dataclass(frozen=True)
class CurrentConsent:
    """The state of one kind of consent: the latest record, the providers that data may go to, and
    the history."""

    latest: Consent
    providers: list[str]
    history: list[Consent]

    @property
    def is_granted(self) -> bool:
        if self.latest.kind == ConsentKind.AI_PROVIDERS:
            return bool(self.providers)
        return self.latest.granted


def get_consents(user_id: UUID) -> list[CurrentConsent]:
    """The user's consents, one for each recorded kind, each with its history, newest first. Raises
    Unauthorized if the account is closed."""
    if not User.objects.filter(id=user_id, closed_at=None).exists():
        raise Unauthorized
    current = []
    for kind in ConsentKind:
        records = Consent.objects.filter(user_id=user_id, kind=kind).order_by("-id")
        if history := list(records[:MAX_CONSENT_HISTORY]):
            names = consented_providers(user_id) if kind == ConsentKind.AI_PROVIDERS else set()
            current.append(CurrentConsent(history[0], sorted(names), history))
    return current


def require_ai_consent(*, user_id: UUID, providers: Collection[str]) -> None:
    """Raise ConsentRequired unless the user agrees that data goes to all of `providers`. One
    query."""
    if not consented_providers(user_id).issuperset(providers):
        raise ConsentRequired(providers=sorted(providers))


def related_user_ids(user_id: UUID) -> set[UUID]:
    """The user and all users with the same Apple account, closed ones included. One query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_related_user_ids(%s)", [user_id])
        [user_ids] = cursor.fetchone()
        return set(user_ids)


def has_person_key(user_id: UUID) -> bool:
    """Whether the user would be recognised in an account that is made after this one is deleted."""
    return PersonKey.objects.filter(user_id=user_id).exists()


def has_banned_relative(user_ids: Collection[UUID]) -> bool:
    """Whether any of these users is banned."""
    return User.objects.filter(id__in=user_ids, suspended_at__isnull=False).exists()


def count_devices(user_ids: Collection[UUID], *, since: datetime, most: int) -> int:
    """Devices of these users seen since `since`, counted up to `most`."""
    seen = Device.objects.filter(user_id__in=user_ids, last_seen_at__gte=since)
    return seen[:most].count()


def has_consented(user_id: UUID, kind: ConsentKind) -> bool:
    """Whether the latest record of this kind grants it. Not for AI_PROVIDERS."""
    latest = Consent.objects.filter(user_id=user_id, kind=kind).order_by("-id").first()
    return latest is not None and latest.granted


def get_tier(user_id: UUID, *, now: datetime) -> Tier:
    """The user's tier at `now`. Raises Unauthorized if the account is closed."""
    user = User.objects.filter(id=user_id, closed_at=None).only("tier", "tier_until").first()
    if user is None:
        raise Unauthorized
    return user.tier_at(now)


def get_tiers(user_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, Tier]:
    """The users' tiers at `now`."""
    users = User.objects.filter(id__in=list(user_ids)).only("tier", "tier_until")
    return {user.id: user.tier_at(now) for user in users}


_LATEST_SQL = """
SELECT DISTINCT ON (name) name, granted, id
FROM accounts_consent, jsonb_array_elements_text(providers) AS name
WHERE user_id = %s AND kind = %s
ORDER BY name, id DESC"""


def consented_providers(user_id: UUID) -> set[str]:
    """Providers that the user's data may go to. For each provider the latest record that names it
    decides."""
    return {name for name, granted, _id in _latest_by_provider(user_id) if granted}


def providers_named(user_id: UUID) -> set[str]:
    """Providers that any record of the user names."""
    return {name for name, _granted, _id in _latest_by_provider(user_id)}


def deciding_consents(user_id: UUID) -> set[UUID]:
    """Ids of the records that decide about a provider now."""
    return {id for _name, _granted, id in _latest_by_provider(user_id)}


def _latest_by_provider(user_id: UUID) -> list[tuple[str, bool, UUID]]:
    with connection.cursor() as cursor:
        cursor.execute(_LATEST_SQL, [user_id, ConsentKind.AI_PROVIDERS.value])
        return list(cursor.fetchall())


def list_sessions(user_id: UUID, *, now: datetime) -> list[Session]:
    """The user's live sessions, last used first."""
    live = Session.objects.live(now).owned_by(user_id).select_related("device")
    return list(live.order_by("-last_used_at", "-id"))


def list_devices(user_id: UUID) -> list[Device]:
    """The user's devices, last seen first."""
    return list(Device.objects.owned_by(user_id).order_by("-last_seen_at", "device_id"))
