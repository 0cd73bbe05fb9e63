"""Whatever goes wrong at a trainer, the money is right: the table of faults for trainings."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, default_storage

from credits.ledger_check import find_discrepancies
from generation.models import Breaker, ProviderHealth, Stage
from tests.generation.kinds.test_faults import FAULTS
from tests.generation.training.orders import only_trained_by, own_training, started, trained_by
from tests.helpers.job_driver import assert_refunded, kinds_of, submissions


@pytest.fixture(autouse=True)
def _short(settings, no_long_wait, short_deadlines):
    settings.MAX_WEIGHTS_BYTES = 3_000_000


TABLE = [
    *((provider, *fault) for provider in ("fal", "replicate") for fault in FAULTS.items()),
    ("replicate", "weights_missing", "ERR_5002"),
]


@pytest.mark.parametrize(("provider", "outcome", "code"), TABLE)
def test_every_training_ends_and_its_money_is_right(
    customer, instant_trainers, life, provider, outcome, code
):
    only_trained_by(provider)
    before = customer.balance()
    instant_trainers.provider(provider=provider, outcome=outcome)
    job = started(customer)

    life.run_until_done(job)

    answer = own_training(customer, job.id)
    if code is None:
        assert (answer["status"], answer["usable"]) == ("completed", True)
        assert kinds_of(job.id) == ["charge"]
        assert customer.balance() == before - job.credits
    else:
        assert_refunded(job, code=code)
        assert customer.balance() == before
        assert answer["usable"] is False
        assert trained_by(job).weights_name == ""
    assert (answer["error"] or {}).get("code") == code
    assert answer["refunded"] is (code is not None)
    assert find_discrepancies() == []


def test_a_storage_that_fails_sends_nothing_and_blames_no_provider(
    customer, instant_trainers, life, monkeypatch
):
    """The zip cannot be written; later it can."""
    broken = InMemoryStorage()
    job = started(customer)
    with monkeypatch.context() as patched:
        patched.setattr(broken, "_save", refuse)
        patched.setattr(default_storage, "_wrapped", broken)
        patched.setattr(broken, "_open", lambda name, mode="rb": ContentFile(b"image"))
        life.submit()
    job.refresh_from_db()
    assert (job.stage, job.tries) == (Stage.SUBMIT, 1)
    assert submissions(instant_trainers) == []
    [health] = ProviderHealth.objects.filter(provider="fal")
    assert (health.state, health.failures) == (Breaker.CLOSED, 0)

    life.run_until_done(job)

    assert own_training(customer, job.id)["usable"] is True
    assert trained_by(job).provider == "fal"
    assert len(submissions(instant_trainers)) == 1


def refuse(*_: object) -> str:
    raise OSError("no space left")
