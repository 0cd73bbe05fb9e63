"""/metrics: who may read it, and what it tells."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from adminops.monitoring import database_gauges as metric_monitoring
from adminops.monitoring import heartbeats
from billing.models import UnreadablePayload
from credits.models import LedgerCheck
from generation.lifecycle import dead_letters
from generation.models import Breaker, DeadKind, Job, ProviderHealth
from rendio import metrics_endpoint
from tests.helpers.job_driver import JobDriver, create_job
from tests.helpers.phone import assert_refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch):
    monkeypatch.setattr(metric_monitoring, "KEPT_SECONDS", -1)


@pytest.fixture
def scrape(client):
    """The samples, by name and labels."""

    def scrape() -> dict[str, float]:
        text = client.get("/metrics").content.decode()
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    return scrape


def test_metrics_need_the_token(client, settings):
    settings.METRICS_TOKEN = "prometheus-own-token"
    assert_refused(client.get("/metrics"), 403, "ERR_4006")
    wrong = client.get("/metrics", headers={"Authorization": "Bearer another"})
    assert_refused(wrong, 403, "ERR_4006")

    answer = client.get("/metrics", headers={"Authorization": "Bearer prometheus-own-token"})

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")


def test_metrics_without_a_token_are_closed_in_production(client, settings):
    assert client.get("/metrics").status_code == 200

    settings.PRODUCTION = True

    assert_refused(client.get("/metrics"), 403, "ERR_4006")


def test_every_metric_name_has_our_prefix(scrape, phone):
    names = {name for name in scrape() if not name.startswith(("python_", "process_"))}

    assert {name for name in names if not name.startswith("rendio_")} == set()


def test_job_lifecycle_is_counted(scrape, phone, sandbox, django_capture_on_commit_callbacks):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    before = scrape()

    with django_capture_on_commit_callbacks(execute=True):
        job = create_job(phone)
        JobDriver().run_until_done(job)

    after = scrape()

    def grew(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grew('rendio_jobs_ordered_total{queue="low"}') == 1
    assert grew('rendio_submissions_total{outcome="accepted",provider="fal"}') == 1
    assert grew('rendio_jobs_ended_total{queue="low",reason="",status="completed"}') == 1
    assert grew('rendio_credits_moved_total{direction="out",kind="charge"}') == job.credits
    for stage in ("waiting", "making", "storing", "all"):
        assert grew(f'rendio_job_stage_seconds_count{{queue="low",stage="{stage}"}}') == 1
    sent = [name for name in after if re.match("rendio_outbound_seconds_count.*POST.*200", name)]
    assert sum(map(grew, sent)) == 1


def test_database_gauges_are_exported(scrape, phone):
    heartbeats.write(process="worker@one", roles=["low"], now=timezone.now())
    ProviderHealth.objects.create(provider="fal", key_label="default", state=Breaker.OPEN)
    dead_letters.record(DeadKind.TASK, "generation.sweep", "It broke", now=timezone.now())
    job = create_job(phone)
    Job.objects.filter(id=job.id).update(deadline_at=timezone.now() - timedelta(seconds=100))
    UnreadablePayload.objects.create(
        key="transaction 1", kind="transaction", problem="type",
        first_at=timezone.now(), last_at=timezone.now(),
    )  # fmt: skip
    LedgerCheck.objects.update(discrepancies=2, balanced_at=timezone.now())

    said = scrape()

    assert said['rendio_alive{role="low"}'] == 1
    assert said['rendio_alive{role="high"}'] == 0
    assert said['rendio_breaker_open{key="default",provider="fal"}'] == 1
    assert said['rendio_dead_letters{kind="task"}'] == 1
    assert said['rendio_jobs{queue="low",stage="submit"}'] == 1
    assert 100 <= said['rendio_due_seconds{what="low jobs: submit"}'] < 200
    assert said["rendio_unreadable_payloads"] == 1
    assert said["rendio_ledger_differences"] == 2
    assert said["rendio_ledger_proved_timestamp_seconds"] > 1e9
    assert said["rendio_database_up"] == 1


def test_counters_are_exported_without_the_database(scrape):
    def refuse(*_):
        raise OperationalError

    with connection.execute_wrapper(refuse):
        said = scrape()

    assert said["rendio_database_up"] == 0
    assert "rendio_ledger_differences" not in said


def test_worker_exports_metrics_on_its_own_port(settings):
    """Asked as its server asks it; whether it is asked, the real processes show."""
    settings.METRICS_TOKEN = "prometheus-own-token"
    heard = []

    def start(status, headers):
        heard.append(status)

    metrics_endpoint._answer_for_worker({"HTTP_AUTHORIZATION": "Bearer another"}, start)
    [body] = metrics_endpoint._answer_for_worker(
        {"HTTP_AUTHORIZATION": "Bearer prometheus-own-token"}, start
    )

    assert heard == ["403 Forbidden", "200 OK"]
    assert b"rendio_task_seconds" in body
