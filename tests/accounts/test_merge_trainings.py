"""A guest's training and trained models are the account's after a merge."""

from uuid import uuid4

import pytest

from credits.ledger_check import find_discrepancies
from generation.models import Stage, TrainedModel, TrainingConsent, TrainingSet
from tests.generation.training.orders import CONSENT, make_set
from tests.helpers.job_driver import JobDriver, grant
from tests.helpers.media_over_http import media_over_http

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(guest, person):
    assert person.signs_in(guest).status_code == 200
    return guest


def test_a_training_that_runs_becomes_a_model_of_the_account(
    account, new_signed_in, person, sandbox, settings
):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    second_phone = new_signed_in()
    grant(second_phone.user_id, 100)
    body = {"name": "Ada", "kind": "person", "steps": 600, "consent": CONSENT}
    answer = second_phone.post(
        "train/start", body | {"set_id": make_set(second_phone)}, idempotency_key=str(uuid4())
    )
    trained = TrainedModel.objects.get(id=answer.json()["model_id"])
    life = JobDriver()
    with media_over_http(settings):
        life.run_until_done(trained.job, until=lambda job: job.stage == Stage.QUEUED)

        assert person.signs_in(second_phone).json()["merged"] is True

        life.run_until_done(trained.job)
    for owned in (TrainedModel, TrainingSet, TrainingConsent):
        assert {str(row.user_id) for row in owned.objects.all()} == {str(account.user_id)}
    [model] = account.get("train/models").json()["models"]
    assert (model["name"], model["usable"]) == ("Ada", True)
    assert find_discrepancies() == []
