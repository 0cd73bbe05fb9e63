"""Growth: what frequent reads, claims and sweeps cost PostgreSQL as its tables grow.

A database of so many jobs, each with a ledger entry, a submission and a webhook, of a fiftieth as
many users. A tenth of the jobs are of one user, whose pages are read; another user orders, since
nobody may order so much a day. The calls run in this process, and only the CPU time of its
PostgreSQL backend counts: nothing else grows.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from django.db import connection, models, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from adminops.due_work import ROLL_UP_DAYS
from adminops.models import CountedDay
from adminops.support import timeline
from bench import process_tree
from bench.world import PROMPT
from credits import services as credit_services
from credits.models import LedgerEntry, Lot, Wallet
from generation.catalogue import cache
from generation.dispatch.scheduler import schedule_batch
from generation.due_work import SUBMIT_JOBS
from generation.models import (
    Job,
    JobStatus,
    ProviderRequest,
    RequestState,
    Stage,
    WebhookDelivery,
)
from rendio.common.background.due_work import DueLookup, DueWork, kinds
from rendio.common.web.api import next_cursor

JOBS_PER_USER = 50
# The user who has one job in so many; the others share the rest equally.
HEAVY_USER, HEAVY_SHARE = 0, 10
USUAL_USER = 1
# The rows' ages are spread over this period, at any size.
PERIOD = timedelta(days=60)
# As many at any size.
WAITING_JOBS = 200
# Numbers of these jobs; the others are numbered from 0.
FIRST_WAITING = 10**12
ROUNDS, REPEATS, LONGEST_SECONDS = 3, 20, 1.0
# After so many calls a statement is prepared and its plan is settled.
WARM_UPS = 10
CREDITS = 1_000_000


@dataclass(frozen=True)
class Growth:
    """Milliseconds of PostgreSQL's CPU for one call, by the number of jobs. Of several calls the
    cheapest: other work on the machine makes a call dearer, never cheaper."""

    name: str
    cpu_ms: dict[int, float]

    @property
    def ratios(self) -> dict[int, float]:
        """Each size compared with the smallest."""
        smallest, *larger = sorted(self.cpu_ms)
        return {size: self.cpu_ms[size] / self.cpu_ms[smallest] for size in larger}


@dataclass(frozen=True)
class _Case:
    """`prepare` runs before each call, and is not measured."""

    name: str
    call: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def measure(sizes: Sequence[int]) -> list[Growth]:
    """Empty all tables of users, fill a database to each size, and measure them alternately. Needs
    a superuser of the database, and no other process that has a connection."""
    if not sizes:
        return []
    databases = _fill_databases(sorted(sizes))
    cases = {}
    for size, name in databases.items():
        _use_database(name)
        cases[size] = _cases(size)
    found: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for _round in range(ROUNDS):
        for same_case in zip(*cases.values(), strict=True):
            for (size, name), case in zip(databases.items(), same_case, strict=True):
                _use_database(name)
                cheapest = found[case.name].get(size, math.inf)
                found[case.name][size] = min(_cpu_ms(case), cheapest)
    return [Growth(name, cpu_ms) for name, cpu_ms in found.items()]


def _fill_databases(sizes: Sequence[int]) -> dict[int, str]:
    """The name of each size's database. Each is a copy of the one before, filled further."""
    templates = _Templates()
    databases: dict[int, str] = {}
    name = str(connection.settings_dict["NAME"])
    filled = 0
    for size in sizes:
        if databases:
            template, name = name, f"jobs_{size}"
            _use_database("postgres")
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            _use_database(name)
        templates.fill(filled, size)
        databases[size], filled = name, size
    return databases


def _use_database(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name
    with connection.cursor() as cursor:
        # The CPU time of parallel workers would be missed.
        cursor.execute("SET max_parallel_workers_per_gather = 0")


def _cpu_ms(case: _Case) -> float:
    pid = connection.connection.info.backend_pid
    used = []
    began = time.monotonic()
    for number in range(WARM_UPS + REPEATS):
        case.prepare()
        before = process_tree.exact_cpu_ms(pid)
        case.call()
        if number >= WARM_UPS:
            used.append(process_tree.exact_cpu_ms(pid) - before)
        if used and time.monotonic() - began > LONGEST_SECONDS:
            break
    return min(used)


# --- Rows -----------------------------------------------------------------------------------------


def _user_id(number: str) -> str:
    """SQL: the id of the user of this number, an expression over `n`. The wallet has the same."""
    return f"('00000000-0000-4000-9000-' || lpad(({number})::text, 12, '0'))::uuid"


class _Templates:
    """One row of each table, which the others are copies of: the columns that a row of the
    application has, whatever they are."""

    def __init__(self) -> None:
        now = timezone.now()
        model = cache.current().default_model()
        _empty_tables()
        with transaction.atomic():
            user = User.objects.create()
            credit_services.open_wallet(user_id=user.id)
            credit_services.grant(
                user_id=user.id,
                amount=CREDITS,
                source=credit_services.Source.PROMOTION,
                reason="bench",
                now=now,
            )
        self._user, self._wallet = user, Wallet.objects.get(user=user)
        self._lot = Lot.objects.get(wallet=self._wallet)
        self._job = Job.objects.create(
            user=user,
            model_id=model.id,
            prompt=PROMPT,
            credits=4,
            price_usd="0.4",
            status=JobStatus.COMPLETED,
            stage=Stage.DONE,
            queue=model.kind.queue,
            progress=100,
            media_name="videos/bench.mp4",
            thumbnail_name="videos/bench.jpg",
            completed_at=now,
        )
        self._entry = LedgerEntry.objects.create(
            wallet=self._wallet,
            number=0,
            kind="charge",
            change=-4,
            balance_after=CREDITS,
            job_id=self._job.id,
            lots=[[str(self._lot.id), -4]],
            reason="generation",
        )
        self._request = ProviderRequest.objects.create(
            job=self._job,
            route_id=model.routes[0].id,
            provider=model.routes[0].provider,
            state=RequestState.FINISHED,
            provider_request_id="bench",
            sent_at=now,
            answered_at=now,
            ended_at=now,
        )
        self._delivery = WebhookDelivery.objects.create(
            provider="fal",
            provider_request_id="bench",
            body="{}",
            processed_at=now,
            outcome="stored next",
        )

    def fill(self, first: int, size: int) -> None:
        """Rows `first` to `size`, and the users for them; everything is counted up to now."""
        with connection.cursor() as cursor:
            # No foreign keys are checked, and no triggers run: the rows fit.
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("SET statement_timeout = 0")
        users = (first // JOBS_PER_USER, size // JOBS_PER_USER)
        _copy(self._user, *users, id=_user_id("n"))
        _copy(self._wallet, *users, id=_user_id("n"), user_id=_user_id("n"))
        _copy(self._lot, *users, id=_id("n", *users), wallet_id=_user_id("n"))
        owner = _user_id(
            f"CASE WHEN mod(n, {HEAVY_SHARE}) = 0 THEN {HEAVY_USER}"
            f" ELSE 1 + mod(n, {users[1] - 1}) END"
        )
        self._copy_jobs(first, size, owner=owner)
        if not first:
            self._copy_waiting_jobs(owner=owner)
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = origin")
            cursor.execute("VACUUM ANALYZE")
        CountedDay.objects.all().delete()
        ROLL_UP_DAYS.run_batch(now=timezone.now())
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")

    def _copy_jobs(self, first: int, size: int, *, owner: str) -> None:
        rows, at = (first, size), _time("n", first, size)
        job_id = _id("n", *rows)
        _copy(self._job, *rows, id=job_id, user_id=owner, created_at=at, completed_at=at)
        # Below those of the entries that calls add. They have gaps, unlike in a real ledger.
        _copy(
            self._entry,
            *rows,
            id=job_id,
            wallet_id=owner,
            number=f"n - {FIRST_WAITING // 1000}",
            job_id=job_id,
            created_at=at,
        )
        _copy(
            self._request,
            *rows,
            id=job_id,
            job_id=job_id,
            webhook_token="n::text",  # noqa: S106
            provider_request_id="n::text",
            sent_at=at,
            answered_at=at,
            ended_at=at,
        )
        _copy(
            self._delivery,
            *rows,
            id=job_id,
            provider_request_id="n::text",
            received_at=at,
            processed_at="now()",
        )

    def _copy_waiting_jobs(self, *, owner: str) -> None:
        rows = (FIRST_WAITING, FIRST_WAITING + WAITING_JOBS)
        _copy(
            self._job,
            *rows,
            id=_id("n", *rows),
            user_id=owner,
            status=f"'{JobStatus.PENDING}'",
            stage=f"'{Stage.SUBMIT}'",
            due_at="now()",
            deadline_at="now() + interval '1 day'",
        )


def _empty_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("TRUNCATE accounts_user, generation_webhookdelivery CASCADE")
        cursor.execute("SET session_replication_role = origin")


def _time(number: str, first: int, end: int) -> str:
    """SQL: the time of the row, an expression over its number."""
    step_seconds = PERIOD.total_seconds() / (end - first)
    return f"now() - ({end} - {number}) * {step_seconds} * interval '1 second'"


def _id(number: str, first: int, end: int) -> str:
    """SQL: a UUID version 7 of the row's time, with its number instead of random bits."""
    milliseconds = f"(extract(epoch FROM {_time(number, first, end)}) * 1000)::bigint"
    return (
        f"(lpad(to_hex({milliseconds}), 12, '0') || '70008'"
        f" || lpad(to_hex(({number})::bigint), 15, '0'))::uuid"
    )


def _copy(template: models.Model, first: int, end: int, **columns: str) -> None:
    """Insert copies of a row, numbered from `first` to `end`; `columns` are SQL expressions over
    `n`."""
    table = template._meta.db_table
    names = [str(field.column) for field in template._meta.local_concrete_fields]
    values = ", ".join(columns.get(name, f"template.{name}") for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values}"  # noqa: S608
            f" FROM {table} template, generate_series(%s::bigint, %s::bigint - 1) n"
            " WHERE template.id = %s",
            [first, end, template.pk],
        )


# --- Calls ----------------------------------------------------------------------------------------


def _cases(size: int) -> list[_Case]:
    heavy, usual = (
        User.objects.get(id=f"00000000-0000-4000-9000-{number:012d}")
        for number in (HEAVY_USER, USUAL_USER)
    )
    phone = _phone_of(heavy)
    finished = Job.objects.filter(user=heavy, status=JobStatus.COMPLETED).order_by("id")
    middle = finished[size // HEAVY_SHARE // 2].id
    cursor = next_cursor(middle)
    lookup = DueLookup(kinds())

    def get(path: str) -> Callable[[], None]:
        return lambda: _succeed(phone.get(f"/v1/{path}"))

    return [
        _Case("get-video-jobs, first page", get("get-video-jobs?limit=20")),
        _Case("get-video-jobs, deep page", get(f"get-video-jobs?limit=20&cursor={cursor}")),
        _Case("get-video-status", get(f"get-video-status?job_id={middle}")),
        _Case("get-user-credits", get("get-user-credits")),
        _Case("get-credit-history, first page", get("get-credit-history?limit=20")),
        _Case("get-credit-history, deep page", get(f"get-credit-history?limit=20&cursor={cursor}")),
        _Case("generate-video", lambda: _order(_phone_of(usual))),
        _Case(
            f"claim of {SUBMIT_JOBS.batch} submissions",
            lambda: schedule_batch(queue="low", now=timezone.now()),
            prepare=_wait_again,
        ),
        _Case("beat's look for due rows", lookup.find),
        *(
            _Case(kind.task, partial(_run_batch, kind))
            for kind in kinds()
            # Counts each job of a day again: grows with the orders of a day.
            if kind.is_periodic and kind is not ROLL_UP_DAYS
        ),
        _Case("timeline of a user", lambda: timeline.get_page(heavy.id)),
        *_dashboards(),
    ]


def _phone_of(user: User) -> Client:
    token = tokens.issue_access(
        user_id=user.id, session_id=uuid4(), language="en", now=timezone.now()
    )
    return Client(headers={"host": "127.0.0.1", "authorization": f"Bearer {token}"})


def _dashboards() -> list[_Case]:
    staff = User.objects.filter(is_superuser=True).first()
    browser = Client(headers={"host": "127.0.0.1"})
    browser.force_login(
        staff or User.objects.create_superuser("bench"), "django.contrib.auth.backends.ModelBackend"
    )
    return [
        _Case("dashboard: overview", lambda: _succeed(browser.get(reverse("admin:index")))),
        _Case("dashboard: finance", lambda: _succeed(browser.get(reverse("admin:money")))),
    ]


def _run_batch(kind: DueWork) -> None:
    kind.run_batch(now=timezone.now())


def _order(phone: Client) -> None:
    _succeed(
        phone.post(
            "/v1/generate-video",
            {"prompt": PROMPT},
            content_type="application/json",
            headers={"idempotency-key": str(uuid4())},
        )
    )


def _succeed(response: Any) -> None:
    """Raises RuntimeError with the response of a failed call: its cost would mean nothing."""
    if response.status_code != 200:
        raise RuntimeError(f"{response.status_code}: {response.content[:500]!r}")


def _wait_again() -> None:
    """All jobs that are not done wait to be submitted, WAITING_JOBS of them."""
    ProviderRequest.objects.filter(job__in=Job.objects.exclude(stage=Stage.DONE)).delete()
    Job.objects.exclude(stage=Stage.DONE).update(
        stage=Stage.SUBMIT,
        status=JobStatus.PENDING,
        due_at=timezone.now(),
        deadline_at=timezone.now() + timedelta(days=1),
        leased_until=None,
    )
