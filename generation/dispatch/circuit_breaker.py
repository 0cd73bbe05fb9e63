"""The circuit breaker of each provider key, stored in a row so that all workers share its state.

Failures: timeouts, 5xx, no connection, 429, and our empty balance. A refusal of the
customer's input is a success: the provider answered. generation/lifecycle/submit.py decides which
answer counts.

When failures outnumber successes by BREAKER_FAILURES within BREAKER_WINDOW_SECONDS, the breaker
opens: nothing is submitted for BREAKER_OPEN_SECONDS. Then one request is sent as a probe, and its
result closes the breaker or opens it again. An open breaker does not stop polls, downloads and
cancellations.

A crash may lose one count. If a worker dies with the probe, another probe is sent after
`open_until`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from generation.catalogue import cache
from generation.due_work import JOB_LEASE
from generation.models import Breaker, ProviderHealth, ProviderKey, ProviderRequest

logger = structlog.get_logger(__name__)


def lock_health(keys: Iterable[ProviderKey]) -> dict[ProviderKey, ProviderHealth]:
    """Lock the rows of these keys until the caller's transaction ends; create missing rows.

    Only the holder of this lock selects jobs to submit, so limits and the single probe are exact.
    """
    wanted = set(keys)
    rows = _locked_rows(wanted)
    if missing := wanted - set(rows):
        ProviderHealth.objects.bulk_create(
            [ProviderHealth(provider=key.provider, key_label=key.label) for key in missing],
            ignore_conflicts=True,
        )
        rows = _locked_rows(wanted)
    return rows


def _locked_rows(wanted: set[ProviderKey]) -> dict[ProviderKey, ProviderHealth]:
    rows = ProviderHealth.objects.select_for_update().order_by("provider", "key_label")
    return {row.key: row for row in rows if row.key in wanted}


def start_probe(health: ProviderHealth, request: ProviderRequest, *, now: datetime) -> None:
    """Make this request the probe. The caller has locked the row."""
    health.state = Breaker.HALF_OPEN
    health.probe_id = request.id
    health.open_until = now + JOB_LEASE
    _save(health, now=now)


def record_successes(requests: Iterable[ProviderRequest]) -> None:
    """Count submissions, probes excepted, that the provider accepted, or refused because of their
    content."""
    counts = Counter(ProviderKey(request.provider, request.key_label) for request in requests)
    for key, count in counts.items():
        ProviderHealth.objects.filter(
            provider=key.provider, key_label=key.label, state=Breaker.CLOSED, failures__gt=0
        ).update(failures=Greatest(F("failures") - count, 0))


def record_probe_success(request: ProviderRequest, *, now: datetime) -> None:
    """Close the breaker if this is still its probe. Opens its own transaction."""
    rows = ProviderHealth.objects.filter(provider=request.provider, key_label=request.key_label)
    with transaction.atomic(durable=True):
        if health := rows.filter(probe_id=request.id).select_for_update().first():
            close(health, now=now)


def record_failure(
    request: ProviderRequest, error: str, *, pause_seconds: int = 0, now: datetime
) -> None:
    """Count a submission that failed because of the provider's state.

    `pause_seconds` is the provider's Retry-After. Opens its own transaction.
    """
    with transaction.atomic(durable=True):
        health = (
            ProviderHealth.objects.filter(provider=request.provider, key_label=request.key_label)
            .select_for_update()
            .get()
        )
        health.last_error = error[:200]
        if pause_seconds:
            health.paused_until = now + timedelta(seconds=pause_seconds)
        _count_failure(health, now=now)
        is_probe = health.probe_id == request.id
        if is_probe or (
            health.state == Breaker.CLOSED and health.failures >= settings.BREAKER_FAILURES
        ):
            _open(health, now=now)
        _save(health, now=now)


def _count_failure(health: ProviderHealth, *, now: datetime) -> None:
    window = timedelta(seconds=settings.BREAKER_WINDOW_SECONDS)
    if health.window_began_at is None or now - health.window_began_at > window:
        health.window_began_at, health.failures = now, 0
    health.failures += 1


def _open(health: ProviderHealth, *, now: datetime) -> None:
    health.state = Breaker.OPEN
    health.probe_id = None
    health.open_until = now + timedelta(seconds=settings.BREAKER_OPEN_SECONDS)
    logger.error("breaker_opened", provider=health.provider, key_label=health.key_label)
    transaction.on_commit(cache.invalidate)


def close(health: ProviderHealth, *, now: datetime) -> None:
    """Allow all submissions again. The caller has locked the row."""
    health.state = Breaker.CLOSED
    health.failures = 0
    health.probe_id = health.open_until = health.paused_until = None
    health.last_error = ""
    logger.info("breaker_closed", provider=health.provider, key_label=health.key_label)
    _save(health, now=now)
    transaction.on_commit(cache.invalidate)


def _save(health: ProviderHealth, *, now: datetime) -> None:
    health.changed_at = now
    health.save(
        update_fields=[
            "state", "failures", "window_began_at", "open_until", "probe_id", "paused_until",
            "last_error", "changed_at",
        ]
    )  # fmt: skip
