"""The timeline of a user, newest event first: ledger entries, jobs, purchases, sessions, push
notifications, consents to trainings and staff actions.

Pages use keyset pagination and cost the same few queries however long the timeline is. Most rows
have time-ordered ids (UUIDv7), so older rows are a range of the primary key. Details of an event,
such as the provider requests of a job, are listed below the event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import UUID

from django.db.models import Model, QuerySet

from accounts.models import Push, Session, User
from adminops.models import AuditLogEntry
from billing.models import (
    ConsumptionRequest,
    Notification,
    Purchase,
    UnconfirmedPurchase,
    UnreadablePayload,
)
from credits import queries as credit_queries
from generation.models import Job, JobStatus, ProviderRequest, TrainingConsent
from rendio.common.errors import InvalidInput, NotFound, refusal_by_code

if TYPE_CHECKING:
    from credits.models import LedgerEntry, Lot

PAGE_SIZE = 50
_RANDOM_BITS = 80  # of a UUIDv7, after its milliseconds


@dataclass(frozen=True)
class Detail:
    """A line below an event."""

    at: datetime
    row: Model
    text: str


@dataclass(frozen=True)
class Event:
    key: int  # sort key, unique
    at: datetime
    row: Model
    kind: str
    text: str
    change: int | None = None  # credits; None for events other than ledger entries
    balance: int = 0  # after the event
    details: list[Detail] = field(default_factory=list)


class Cursor(NamedTuple):
    """The end of a page: the key of its last event, and the last ledger entry shown so far."""

    key: int
    entry_id: UUID | None

    def __str__(self) -> str:
        return f"{self.key:032x}.{self.entry_id or ''}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises InvalidInput."""
        key, _, entry_id = text.partition(".")
        try:
            # As a UUID, which limits the key to the range of ids.
            return cls(UUID(key).int, UUID(entry_id) if entry_id else None)
        except ValueError:
            raise InvalidInput(fields={"before": ["Not a cursor."]}) from None


_NEWEST = Cursor((1 << 128) - 1, None)


@dataclass(frozen=True)
class Timeline:
    user: User
    events: list[Event]
    next_cursor: Cursor | None


def get_page(user_id: UUID, *, before: str = "") -> Timeline:
    """A page of the timeline. Raises NotFound, and InvalidInput for an invalid cursor."""
    user = User.objects.select_related("wallet__merged_into").filter(id=user_id).first()
    if user is None:
        raise NotFound
    cursor = Cursor.read(before) if before else _NEWEST
    entries = list(_entries(user_id, cursor))
    others = chain(
        _jobs(user_id, cursor),
        _training_consents(user_id, cursor),
        _purchases(user_id, cursor),
        _unconfirmed(user_id, cursor),
        _unreadable(user_id, cursor),
        _sessions(user_id, cursor),
        _pushes(user_id, cursor),
        _staff_actions(user_id, cursor),
    )
    older_first = sorted([*entries, *others], key=lambda event: event.key)
    newest_first = _with_balances(older_first)[::-1]
    page = newest_first[:PAGE_SIZE]
    last_entry = next((event.row.pk for event in reversed(page) if event.change is not None), None)
    has_more = len(newest_first) > PAGE_SIZE
    return Timeline(
        user=user,
        events=_with_details(page),
        next_cursor=Cursor(page[-1].key, last_entry or cursor.entry_id) if has_more else None,
    )


def _with_balances(older_first: list[Event]) -> list[Event]:
    """The events with the balance after each. An event that is no ledger entry has the balance of
    the entry before it."""
    balance, result = 0, []
    for event in older_first:
        balance = event.balance if event.change is not None else balance
        result.append(replace(event, balance=balance))
    return result


# --- Events ---------------------------------------------------------------------------------------
# Each function yields the newest events before the cursor, at most one more than a page.


def _entries(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    """Ledger entries in the order of the ledger. Keys are corrected where clocks of servers
    differ."""
    key = cursor.key
    entries = credit_queries.history(user_id=user_id, limit=PAGE_SIZE + 1, after=cursor.entry_id)
    for entry in entries:
        key = min(entry.id.int, key - 1)
        yield Event(
            key,
            entry.created_at,
            entry,
            entry.kind,
            _entry_text(entry),
            change=entry.change,
            balance=entry.balance_after,
        )


def _entry_text(entry: LedgerEntry) -> str:
    debt = f"debt {entry.debt_change:+d}, {entry.debt_after} now" if entry.debt_change else ""
    return ", ".join(filter(None, [entry.reason, debt]))


def _jobs(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for job in _older(Job.objects.filter(user_id=user_id).select_related("model"), cursor):
        yield Event(job.id.int, job.created_at, job, "job", _job_text(job))


def _job_text(job: Job) -> str:
    took = f" after {_duration(job.created_at, job.completed_at)}" if job.completed_at else ""
    why = f": {refusal_by_code(job.error_code).type}" if job.error_code else ""
    refund = ""
    if job.status == JobStatus.COMPLETED:
        refund = f", {job.credits_refunded} refunded" if job.refund_entry_id else ""
    elif job.fee_kept:
        refund = f", fee {job.fee_kept}"
    return (
        f"{job.model.name}, {job.credits} credits: {job.status}{took}{why}{refund}"
        f"{', deleted by the user' if job.deleted_at else ''}"
    )


def _training_consents(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for consent in _older(TrainingConsent.objects.filter(user_id=user_id), cursor):
        text = f"to train on images of a person: text {consent.text_version}, {consent.language}"
        if consent.withdrawn_at:
            text += f", withdrawn {consent.withdrawn_at:%Y-%m-%d %H:%M}"
        yield Event(consent.id.int, consent.given_at, consent, "consent", text)


def _purchases(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for purchase in _older(Purchase.objects.filter(user_id=user_id), cursor):
        text = f"{purchase.product_id}, {purchase.environment}"
        if purchase.is_free:
            text += ", free"
        if purchase.pending_reason:
            text += f": pending ({purchase.get_pending_reason_display().lower()})"
        elif purchase.revoked_share:
            text += f": {'' if purchase.is_refunded else 'partially '}refunded"
        yield Event(purchase.id.int, purchase.recorded_at, purchase, "purchase", text)


def _unconfirmed(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for unconfirmed in _older(UnconfirmedPurchase.objects.filter(user_id=user_id), cursor):
        text = f"unconfirmed by Apple, {unconfirmed.tries} tries"
        yield Event(unconfirmed.id.int, unconfirmed.created_at, unconfirmed, "purchase", text)


def _unreadable(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for payload in _older(UnreadablePayload.objects.filter(user_id=user_id), cursor):
        text = payload.outcome or f"unreadable payload: {payload.problem}"
        yield Event(payload.id.int, payload.first_at, payload, "purchase", text)


def _sessions(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for session in _older(Session.objects.filter(user_id=user_id), cursor):
        text = f"opened, last used after {_duration(session.created_at, session.last_used_at)}"
        if session.revoked_at:
            span = _duration(session.created_at, session.revoked_at)
            text += f"; ended after {span} ({session.get_revoked_reason_display().lower()})"
        yield Event(session.id.int, session.created_at, session, "session", text)


def _pushes(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    for push in _older(Push.objects.filter(user_id=user_id), cursor):
        text = f"{push.get_kind_display()}: {push.get_outcome_display() or 'pending'}"
        if push.reason:
            text += f" ({push.reason})"
        yield Event(push.id.int, push.created_at, push, "push", text)


def _staff_actions(user_id: UUID, cursor: Cursor) -> Iterator[Event]:
    """Staff actions by their time: the id may come from a form that was opened long before."""
    milliseconds = (cursor.key >> _RANDOM_BITS) + 1
    # 2^48 milliseconds are beyond the year 9999.
    until = datetime.fromtimestamp(min(milliseconds / 1000, 2**37), tz=UTC)
    entries = AuditLogEntry.objects.filter(subject_id=user_id, at__lt=until)
    for entry in entries.select_related("actor").order_by("-at")[: PAGE_SIZE + 1]:
        milliseconds = int(entry.at.timestamp() * 1000)
        key = (milliseconds << _RANDOM_BITS) | (entry.id.int & ((1 << _RANDOM_BITS) - 1))
        if key < cursor.key:
            yield Event(key, entry.at, entry, "support", _action_text(entry))


def _action_text(entry: AuditLogEntry) -> str:
    return f"{entry.get_action_display()} by {entry.actor}: {entry.reason}"


def _older(rows: QuerySet, cursor: Cursor) -> QuerySet:
    return rows.filter(id__lt=UUID(int=cursor.key)).order_by("-id")[: PAGE_SIZE + 1]


def _duration(begin: datetime, end: datetime) -> str:
    seconds = int((end - begin).total_seconds())
    for unit, length in [("d", 86_400), ("h", 3_600), ("min", 60)]:
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


# --- Details --------------------------------------------------------------------------------------


def _with_details(page: list[Event]) -> list[Event]:
    lines: defaultdict[UUID, list[Detail]] = defaultdict(list)
    rows = [event.row for event in page]
    jobs = [row for row in rows if isinstance(row, Job)]
    purchases = [row for row in rows if isinstance(row, Purchase)]
    entries = cast("list[LedgerEntry]", [one.row for one in page if one.change is not None])
    details = chain(
        _lots(entries), _requests(jobs), _apple_events(purchases), _staff_actions_on(rows)
    )
    for row_id, line in details:
        lines[row_id].append(line)
    return [
        replace(event, details=sorted(lines[event.row.pk], key=lambda line: line.at))
        for event in page
    ]


_Details = Iterator[tuple[UUID, Detail]]


def _lots(entries: Iterable[LedgerEntry]) -> _Details:
    """The lots that an entry changed, with their current balance."""
    lots = credit_queries.lots_touched_by(entries)
    for entry in entries:
        for lot_id, change in entry.lots:
            lot = lots[UUID(lot_id)]
            yield entry.id, Detail(entry.created_at, lot, _lot_text(lot, change))


def _lot_text(lot: Lot, change: int) -> str:
    expiry = f", expires {lot.expires_at:%Y-%m-%d %H:%M}" if lot.expires_at else ""
    return f"{lot.source} lot {change:+d}: {lot.remaining} of {lot.amount} left{expiry}"


def _requests(jobs: list[Job]) -> _Details:
    for request in ProviderRequest.objects.filter(job__in=jobs):
        text = f"{request.provider}: {request.state}, ${request.cost_usd:.2f}"
        if request.ended_at:
            text += f" after {_duration(request.sent_at, request.ended_at)}"
        if request.error_type:
            text += f" ({request.error_type})"
        yield request.job_id, Detail(request.sent_at, request, text)


def _apple_events(purchases: list[Purchase]) -> _Details:
    ids = {(one.environment, one.transaction_id): one.id for one in purchases}
    names = [transaction_id for _, transaction_id in ids]
    for notice in Notification.objects.filter(transaction_id__in=names).defer("signed_payload"):
        purchase_id = ids.get((notice.environment, notice.transaction_id))
        if purchase_id:
            text = f"{notice}: {notice.outcome or 'not processed yet'}"
            yield purchase_id, Detail(notice.received_at, notice, text)
    for refund_request in ConsumptionRequest.objects.filter(purchase__in=purchases):
        text = f"refund request: {refund_request.outcome or 'not answered yet'}"
        yield refund_request.purchase_id, Detail(refund_request.requested_at, refund_request, text)


def _staff_actions_on(rows: list[Model]) -> _Details:
    entries = AuditLogEntry.objects.filter(subject_id__in=[row.pk for row in rows])
    for entry in entries.select_related("actor"):
        yield entry.subject_id, Detail(entry.at, entry, _action_text(entry))
