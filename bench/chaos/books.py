"""Our own rows: initial data, open jobs, and the final audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import requests
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bench.chaos.customers import Order
from bench.chaos.storm import PROVIDERS
from credits import ledger_check
from credits import services as credit_services
from generation.models import Job, JobStatus, ProviderRequest, RequestState

CREDITS = 1_000
LATE = timedelta(seconds=3)
# The states of a submission that the provider may have taken.
MAY_RUN = {
    *[RequestState.SENDING, RequestState.ACCEPTED, RequestState.UNKNOWN],
    *[RequestState.FINISHED, RequestState.FAILED],
}


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def give_credits(user_ids: Iterable[UUID]) -> None:
    """More than a guest will spend."""
    for user_id in user_ids:
        with transaction.atomic():
            credit_services.grant(
                user_id=user_id,
                amount=CREDITS,
                source=credit_services.Source.PROMOTION,
                reason="chaos",
                now=timezone.now(),
            )


def count_open() -> int:
    """Jobs that have not ended."""
    return Job.objects.filter(status__in=[JobStatus.PENDING, JobStatus.PROCESSING]).count()


def is_anything_late() -> bool:
    """Whether a job has been due for longer than `LATE` without a worker."""
    late = timezone.now() - LATE
    nobody = Q(leased_until=None) | Q(leased_until__lt=late)
    running = Job.objects.filter(status__in=[JobStatus.PENDING, JobStatus.PROCESSING])
    return running.filter(nobody, due_at__lt=late).exists()


@dataclass(frozen=True)
class Verdict:
    figures: dict[str, int]
    # Descriptions of lost, duplicated and unfinished work.
    losses: list[str]


def audit(orders: list[Order], *, sandbox_url: str) -> Verdict:
    """Compare our rows with the guests' responses and the providers' requests."""
    jobs = {job.id: job for job in Job.objects.all()}
    taken = [one for provider in PROVIDERS for one in _taken_by(provider, sandbox_url)]
    sent = list(ProviderRequest.objects.select_related("job").order_by("id"))
    tokens = Counter(one.token for one in taken if one.token)
    per_order = Counter(one.order for one in taken)
    statuses = Counter(job.status for job in jobs.values())
    figures = {
        "orders confirmed": sum(order.job_id is not None for order in orders),
        "jobs": len(jobs),
        **{f"jobs {status}": n for status, n in sorted(statuses.items())},
        "refunds": sum(job.refund_entry_id is not None for job in jobs.values()),
        **{
            f"submissions {provider} took": sum(one.provider == provider for one in taken)
            for provider in PROVIDERS
        },
        "most submissions of one job to one provider": max(per_order.values(), default=0),
        "ledger entries": ledger_check.count_wallets_and_entries()[1],
    }
    losses = [
        *_wrong_orders(orders, jobs),
        *(problem for job in jobs.values() if (problem := _wrong_end(job))),
        *(f"submission {token}: taken {n} times" for token, n in tokens.items() if n > 1),
        *_unknown_submissions(per_order, sent),
        *_wrong_submissions([request for request in sent if _was_taken(request, taken)]),
        *(f"ledger: {found.problem}: {found}" for found in ledger_check.find_discrepancies()),
    ]
    return Verdict(figures, losses)


def _wrong_orders(orders: list[Order], jobs: dict[UUID, Job]) -> list[str]:
    jobs_per_prompt = Counter(job.prompt for job in jobs.values())
    found = []
    for order in orders:
        if order.job_id is None:
            found.append(f"{order.prompt}: never confirmed")
        elif order.job_id not in jobs:
            found.append(f"{order.prompt}: confirmed, and there is no job")
        if jobs_per_prompt[order.prompt] > 1:
            found.append(f"{order.prompt}: {jobs_per_prompt[order.prompt]} jobs")
    return found


def _wrong_end(job: Job) -> str | None:
    if not job.is_terminal:
        return f"job {job.id}: still {job.status}, {job.stage}"
    if job.status != JobStatus.COMPLETED:
        return None if job.refund_entry_id else f"job {job.id}: {job.status}, not refunded"
    if job.refund_entry_id:
        return f"job {job.id}: completed, and refunded"
    return None if default_storage.exists(job.media_name) else f"job {job.id}: no video"


def _unknown_submissions(
    per_order: Counter[tuple[str, str]], sent: list[ProviderRequest]
) -> list[str]:
    """Submissions of a job at a provider that we have no record of."""
    known = Counter((one.provider, one.job.prompt) for one in sent if one.state in MAY_RUN)
    return [
        f"{prompt}: {provider} took {n}, and for us it may have {known[provider, prompt]}"
        for (provider, prompt), n in per_order.items()
        if n > known[provider, prompt]
    ]


def _was_taken(request: ProviderRequest, taken: list[_Taken]) -> bool:
    return any(
        one.request_id == request.provider_request_id or one.token == request.webhook_token
        for one in taken
    )


def _wrong_submissions(taken: list[ProviderRequest]) -> list[str]:
    """Of the provider's submissions, oldest first: those that contradict our rows, and those that
    ran beside an earlier one of the same job."""
    found = []
    last: dict[UUID, ProviderRequest] = {}
    for request in taken:
        if request.state not in MAY_RUN:
            found.append(f"submission {request.id}: taken, and for us {request.state}")
        before = last.get(request.job_id)
        if before and (before.ended_at is None or before.ended_at > request.sent_at):
            found.append(f"job {request.job_id}: {before.id} and {request.id} were live at once")
        last[request.job_id] = request
    return found


@dataclass(frozen=True)
class _Taken:
    """A submission that a provider accepted. `token` is from its webhook's URL, if any."""

    provider: str
    prompt: str
    request_id: str
    token: str

    @property
    def order(self) -> tuple[str, str]:
        return self.provider, self.prompt


def _taken_by(provider: str, sandbox_url: str) -> list[_Taken]:
    answer = requests.get(f"{sandbox_url}/control/jobs", params={"provider": provider}, timeout=30)
    return [
        _Taken(
            provider,
            job["input"].get("prompt") or job["input"]["promptText"],
            job["request_id"],
            "".join(parse_qs(urlsplit(job["webhook_url"] or "").query).get("token", [])),
        )
        for job in answer.json()["jobs"]
    ]
