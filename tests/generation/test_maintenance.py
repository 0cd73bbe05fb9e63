"""Maintenance mode: new orders are refused without a charge, existing jobs continue."""

from __future__ import annotations

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import call_command

from generation.catalogue import cache
from generation.models import Maintenance
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job
from tests.helpers.phone import assert_refused


def switch(state: str, *arguments: str) -> str:
    out = StringIO()
    call_command("maintenance", state, *arguments, stdout=out)
    cache.invalidate()  # what other processes do some seconds later
    return out.getvalue().strip()


def test_orders_are_refused_in_words_and_taken_again(phone):
    assert switch("on", "--reason", "A new disk") == "Maintenance is on (it was off)."

    refused = phone.generate()

    assert_refused(refused, 503, "ERR_6004")
    assert refused.headers["Retry-After"] == "60"
    assert "under maintenance" in refused.json()["error"]["message"]
    assert phone.balance() == 10
    assert Maintenance.objects.get().reason == "A new disk"
    assert switch("off") == "Maintenance is off (it was on)."
    assert phone.generate().status_code == 200


def test_what_was_ordered_goes_on(phone, instant_provider, life):
    job = create_job(phone)
    switch("on")

    life.run_until_done(job)

    assert_completed(job)


def test_a_failed_job_is_not_ordered_again_meanwhile(phone, instant_provider, life):
    instant_provider.provider(outcome="error")
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5002")
    switch("on")

    answer = phone.post("retry-video-job", {"job_id": str(job.id)}, Idempotency_Key=str(uuid4()))

    assert_refused(answer, 503, "ERR_6004")


def test_an_answer_is_replayed_all_the_same(phone):
    key = str(uuid4())
    first = phone.generate(key=key)
    switch("on")

    again = phone.generate(key=key)

    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize("path", ["get-video-jobs", "get-models", "get-user-credits"])
def test_everything_else_is_served(phone, path):
    switch("on")

    assert phone.get(path).status_code == 200
