"""Consent: records of a user's agreements and withdrawals."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import queries
from accounts.models import Consent, ConsentKind, User
from rendio.common.errors import InvalidInput, Unauthorized

# Records of one user and kind, in addition to those that still decide about a provider.
MAX_RECORDS = 100
DELETE_BATCH = 1000
# Different names in one user's records, granted or not.
MAX_PROVIDERS = 50


@transaction.atomic(durable=True)
def record_consent(
    *,
    user_id: UUID,
    kind: ConsentKind,
    version: str,
    granted: bool,
    providers: list[str],
    now: datetime,
) -> None:
    """Append a record. A repeated statement changes nothing: the first one stands. Beyond
    MAX_RECORDS the oldest records that decide nothing are deleted.

    `providers` names the providers that data may, or may no longer, go to; a withdrawal without
    names withdraws all. Raises InvalidInput if kind and names do not fit, Unauthorized if the
    account is closed.
    """
    providers = sorted(set(providers))
    if kind != ConsentKind.AI_PROVIDERS and providers:
        raise InvalidInput(fields={"providers": [_("Only for ai_providers.")]})
    if kind == ConsentKind.AI_PROVIDERS and granted and not providers:
        raise InvalidInput(fields={"providers": [_("This field is required.")]})
    # Serializes concurrent calls, and waits for a deletion, after which nothing may be stored.
    if not User.objects.select_for_update(no_key=True).filter(id=user_id, closed_at=None).exists():
        raise Unauthorized
    if kind == ConsentKind.AI_PROVIDERS and not granted and not providers:
        providers = sorted(queries.consented_providers(user_id))
    if providers and len(queries.providers_named(user_id) | set(providers)) > MAX_PROVIDERS:
        raise InvalidInput(fields={"providers": [_("Too many different names.")]})
    latest = Consent.objects.filter(user_id=user_id, kind=kind).order_by("-id").first()
    said = (version, granted, providers)
    if latest and said == (latest.version, latest.granted, latest.providers):
        return
    if latest and said == (latest.version, False, []) and not latest.granted:
        return  # withdrawn for all already
    Consent.objects.create(
        user_id=user_id,
        kind=kind,
        version=version,
        granted=granted,
        providers=providers,
        recorded_at=now,
    )
    _delete_surplus(user_id, kind)


def _delete_surplus(user_id: UUID, kind: ConsentKind) -> None:
    """Keep the newest MAX_RECORDS of this kind, and the records that still decide about a provider.

    Joins the caller's transaction, which has the user's row locked.
    """
    records = Consent.objects.filter(user_id=user_id, kind=kind)
    if records.count() <= MAX_RECORDS:
        return
    kept = records.order_by("-id").values_list("id", flat=True)[:MAX_RECORDS]
    decides_nothing = records.exclude(id__in={*kept, *queries.deciding_consents(user_id)})
    surplus = decides_nothing.order_by("id").values_list("id", flat=True)[:DELETE_BATCH]
    records.filter(id__in=list(surplus)).delete()
