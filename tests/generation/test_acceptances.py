"""Submissions that providers have accepted, recorded together."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from generation.dispatch.scheduler import Dispatch, schedule_batch
from generation.lifecycle import acceptances, route_timing, submit
from generation.lifecycle.acceptances import Acceptance
from generation.lifecycle.concurrency import Answer
from generation.models import ProviderHealth, ProviderRequest, RequestState, Stage
from generation.providers import get_provider
from generation.providers.base import Accepted, RetryLater, SubmitResult
from tests.helpers.job_driver import JobDriver, create_job, grant


@pytest.fixture
def three_sent(phone, instant_provider) -> list[Dispatch]:
    """Three submissions that wait for the provider's answer."""
    grant(phone.user_id, 2)
    for _ in range(3):
        create_job(phone)
    return schedule_batch(queue="low", now=JobDriver().now).dispatches


def accepted(item: Dispatch, request_id: str, **fields) -> Acceptance:
    handle = get_provider("fal").build_handle(model_id="a/b", request_id=request_id, key_label="")
    return item, Accepted(handle, **fields), item.request.sent_at


def record_all(*answers: tuple[Dispatch, SubmitResult, datetime]) -> None:
    submit._record_all([Answer(*one) for one in answers])


def stages(items: list[Dispatch]) -> list[str]:
    for item in items:
        item.job.refresh_from_db()
    return [item.job.stage for item in items]


def test_each_job_gets_its_own_answer(three_sent):
    answers = [
        accepted(item, f"id-{place}", queue_position=place) for place, item in enumerate(three_sent)
    ]

    assert acceptances.record(answers) == 3

    assert stages(three_sent) == [Stage.QUEUED] * 3
    assert [item.job.queue_position for item in three_sent] == [0, 1, 2]
    for place, item in enumerate(three_sent):
        item.request.refresh_from_db()
        assert item.request.provider_request_id == f"id-{place}"
        assert item.request.status_url.endswith(f"id-{place}/status")
        assert item.request.state == RequestState.ACCEPTED


def test_three_acceptances_cost_no_more_statements_than_one(three_sent, monkeypatch):
    monkeypatch.setattr(route_timing, "CACHE_SECONDS", 60)
    route_timing.for_route(three_sent[0].route.id)
    first, *others = [accepted(item, f"id-{item.job.id}") for item in three_sent]

    with CaptureQueriesContext(connection) as alone:
        acceptances.record([first])
    with CaptureQueriesContext(connection) as together:
        acceptances.record(others)

    # The lock, the record, and the savepoint of the test's own transaction.
    assert len(alone) == len(together) == 4


def test_an_acceptance_that_cannot_be_stored_does_not_lose_the_others(three_sent):
    """The provider names one id twice, which the database refuses."""
    first, second, third = three_sent

    record_all(accepted(first, "a"), accepted(second, "a"), accepted(third, "b"))

    assert stages(three_sent) == [Stage.QUEUED, Stage.SENT, Stage.QUEUED]


def test_other_answers_are_recorded_beside_acceptances(three_sent):
    first, second, third = three_sent
    later = second, RetryLater(5, "rate_limited", ""), second.request.sent_at

    record_all(accepted(first, "a"), later, accepted(third, "b"))

    assert stages(three_sent) == [Stage.QUEUED, Stage.SUBMIT, Stage.QUEUED]


def test_acceptances_count_against_the_keys_failures(three_sent):
    ProviderHealth.objects.update(failures=4)

    record_all(*(accepted(item, f"id-{item.job.id}") for item in three_sent))

    assert ProviderHealth.objects.get(provider="fal").failures == 1


def test_an_acceptance_after_the_deadline_is_stopped_and_moves_no_job(three_sent):
    late, *others = three_sent
    ProviderRequest.objects.filter(id=late.request.id).update(
        state=RequestState.UNKNOWN, ended_at=late.request.sent_at
    )

    record_all(*(accepted(item, f"id-{item.job.id}") for item in three_sent))

    assert stages(others) == [Stage.QUEUED] * 2
    assert stages([late]) == [Stage.SENT]
    late.request.refresh_from_db()
    assert late.request.provider_request_id
    assert late.request.cancel_due_at
