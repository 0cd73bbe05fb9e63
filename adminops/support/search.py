"""Search by an id, an e-mail address or a transaction. Lookups are exact and use an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from accounts.installations import is_public_id
from accounts.models import Device, Session, User
from billing.models import Purchase, UnconfirmedPurchase, UnreadablePayload
from credits.models import LedgerEntry, Lot, Wallet
from generation.models import Job, ProviderRequest, TrainedModel, TrainingConsent
from generation.providers import provider_choices

# For each type. Periods of a subscription share one original transaction.
MAX_RESULTS = 20


@dataclass(frozen=True)
class SearchResult:
    row: Model
    user_id: UUID | None  # None without an owner


def search_all(text: str) -> list[SearchResult]:
    """The records with this id, e-mail address or transaction.

    Ids are those of users, devices (full or public id), jobs, trained models, consents to
    trainings, provider requests (ours and the provider's), purchases, sessions, wallets, lots,
    ledger entries, and Apple's transactions.
    """
    text = text.strip()
    if not text or "\0" in text:
        return []
    if "@" in text:
        return [
            SearchResult(user, user.id)
            for user in User.objects.filter(email__iexact=text)[:MAX_RESULTS]
        ]
    searched = _parse_uuid(text)
    found = _by_id(searched) if searched else [*_by_public_id(text), *_by_transaction(text)]
    return [*found, *_by_provider_request_id(str(searched or text))]


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _by_id(searched: UUID) -> Iterator[SearchResult]:
    for rows, owner in _LOOKUPS:
        for row in rows().filter(pk=searched):
            yield SearchResult(row, owner(row))


def _by_public_id(text: str) -> Iterator[SearchResult]:
    if is_public_id(text.lower()):
        for device in Device.objects.filter(stored_public_id=text.lower())[:MAX_RESULTS]:
            yield SearchResult(device, device.user_id)


def _by_transaction(text: str) -> Iterator[SearchResult]:
    transaction_id = text.removeprefix("sandbox:")  # the ledger's prefix
    either = Q(transaction_id=transaction_id) | Q(original_transaction_id=transaction_id)
    for purchase in Purchase.objects.filter(either).order_by("-id")[:MAX_RESULTS]:
        yield SearchResult(purchase, purchase.user_id)
    for payload in UnreadablePayload.objects.filter(transaction_id=transaction_id)[:MAX_RESULTS]:
        yield SearchResult(payload, payload.user_id)
    # This table is small, so it has no index.
    unconfirmed_purchases = UnconfirmedPurchase.objects.filter(transaction_id=transaction_id)
    for unconfirmed in unconfirmed_purchases.order_by("-id")[:MAX_RESULTS]:
        yield SearchResult(unconfirmed, unconfirmed.user_id)


def _by_provider_request_id(text: str) -> Iterator[SearchResult]:
    """All providers are listed because the index starts with the provider."""
    providers = [name for name, _ in provider_choices()]
    sent = ProviderRequest.objects.filter(provider__in=providers, provider_request_id=text)
    for request in sent.select_related("job"):
        yield SearchResult(request, request.job.user_id)


_LOOKUPS: list[tuple[Callable[[], QuerySet], Callable[..., UUID | None]]] = [
    (User.objects.all, lambda user: user.id),
    (Device.objects.all, lambda device: device.user_id),
    (Job.objects.all, lambda job: job.user_id),
    (TrainedModel.objects.all, lambda trained: trained.user_id),
    (TrainingConsent.objects.all, lambda consent: consent.user_id),
    (ProviderRequest.objects.select_related("job").all, lambda request: request.job.user_id),
    (Purchase.objects.all, lambda purchase: purchase.user_id),
    (Session.objects.all, lambda session: session.user_id),
    (Wallet.objects.all, lambda wallet: wallet.user_id),
    (
        Lot.objects.select_related("wallet").all,
        lambda lot: lot.wallet.user_id,
    ),
    (
        LedgerEntry.objects.select_related("wallet").all,
        lambda entry: entry.wallet.user_id,
    ),
]
