"""Runway's and Replicate's own clients, unchanged but for the address: they judge the sandbox."""

from __future__ import annotations

import pytest
import replicate
import runwayml
from replicate.webhook import InvalidSignatureError, Webhooks, WebhookSigningSecret

from tests.helpers.trained_weights import metadata_of, served, untarred, zip_of

PROMPT = "A cat on a windowsill"
TRAINER = "ostris/flux-dev-lora-trainer"
VERSION = "wan-video/wan-2.2-t2v-fast"


@pytest.fixture
def runway(sandbox):
    sandbox.control("provider", provider="runway", queue_seconds=0, run_seconds=0)
    return runwayml.RunwayML(api_key="key", base_url=f"{sandbox.url}/runway", max_retries=0)


@pytest.fixture
def replicate_client(sandbox):
    sandbox.control("provider", provider="replicate", queue_seconds=0, run_seconds=0)
    return replicate.Client(api_token="token", base_url=f"{sandbox.url}/replicate")


@pytest.fixture
def predictions(replicate_client):
    return replicate_client.predictions


def create(runway, **changes):
    order = {"model": "gen4.5", "prompt_text": PROMPT, "ratio": "720:1280", "duration": 2}
    return runway.text_to_video.create(**order | changes).id


def is_film(sandbox, url):
    return sandbox.http.get(url).content[4:8] == b"ftyp"


def test_runways_client_gets_a_film(sandbox, runway):
    task = runway.tasks.retrieve(create(runway))

    assert task.status == "SUCCEEDED"
    assert is_film(sandbox, task.output[0])
    assert task.cost.credits == 24


def test_runways_client_sees_each_stage(sandbox, runway):
    sandbox.control("provider", provider="runway", queue_seconds=600)
    assert runway.tasks.retrieve(create(runway)).status == "PENDING"

    sandbox.control("provider", provider="runway", queue_seconds=0, run_seconds=600)
    running = runway.tasks.retrieve(create(runway))
    assert (running.status, 0 <= running.progress < 1) == ("RUNNING", True)


@pytest.mark.parametrize(
    ("outcome", "code", "credits"),
    [("error", "INTERNAL.BAD_OUTPUT.CODE01", 0), ("content_policy", "SAFETY.INPUT.TEXT", 24)],
)
def test_runways_client_reads_a_failure(sandbox, runway, outcome, code, credits):
    sandbox.control("provider", provider="runway", outcome=outcome)

    task = runway.tasks.retrieve(create(runway))

    assert (task.status, task.failure_code, task.cost.credits) == ("FAILED", code, credits)
    assert task.failure


def test_runways_client_cancels_and_then_finds_nothing(sandbox, runway):
    sandbox.control("provider", provider="runway", run_seconds=600)
    task_id = create(runway)

    runway.tasks.delete(task_id)

    with pytest.raises(runwayml.NotFoundError):
        runway.tasks.retrieve(task_id)


@pytest.mark.parametrize(
    "mistake",
    [{"ratio": "wide"}, {"duration": 11}, {"duration": 1}, {"prompt_text": "x" * 1001},
     {"prompt_text": ""}],
)  # fmt: skip
def test_runways_client_gets_400_for_invalid_input(runway, mistake):
    with pytest.raises(runwayml.BadRequestError):
        create(runway, **mistake)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ("submit_429", runwayml.RateLimitError),
        ("submit_500", runwayml.InternalServerError),
        ("submit_503", runwayml.InternalServerError),
        ("submit_403_balance", runwayml.BadRequestError),
    ],
)
def test_runways_client_knows_each_refusal(sandbox, runway, outcome, error):
    sandbox.control("provider", provider="runway", outcome=outcome)

    with pytest.raises(error):
        create(runway)
    assert sandbox.http.get("/control/jobs", params={"provider": "runway"}).json()["jobs"] == []


def test_replicates_client_gets_a_film(sandbox, predictions):
    prediction = predictions.create(version=VERSION, input={"prompt": PROMPT})
    assert prediction.version == VERSION

    prediction.wait()

    assert prediction.status == "succeeded"
    assert is_film(sandbox, prediction.output)
    assert "predict_time" in prediction.metrics


def test_replicates_client_sees_each_stage(sandbox, predictions):
    sandbox.control("provider", provider="replicate", queue_seconds=600)
    waiting = predictions.create(version=VERSION, input={"prompt": PROMPT})
    assert waiting.status == "starting"

    sandbox.control("provider", provider="replicate", queue_seconds=0, run_seconds=600)
    running = predictions.create(version=VERSION, input={"prompt": PROMPT})
    running.reload()
    assert (running.status, running.progress.percentage if running.progress else 0) == (
        "processing", 0,
    )  # fmt: skip


def test_replicates_client_cancels(sandbox, predictions):
    sandbox.control("provider", provider="replicate", queue_seconds=600)
    prediction = predictions.create(version=VERSION, input={"prompt": PROMPT})

    prediction.cancel()

    prediction.reload()
    assert prediction.status == "canceled"


@pytest.mark.parametrize("outcome", ["error", "content_policy"])
def test_replicates_client_reads_a_failure(sandbox, predictions, outcome):
    sandbox.control("provider", provider="replicate", outcome=outcome)

    prediction = predictions.create(version=VERSION, input={"prompt": PROMPT})
    prediction.wait()

    assert (prediction.status, bool(prediction.error)) == ("failed", True)


@pytest.mark.parametrize(
    ("outcome", "status"), [("submit_403_balance", 402), ("invalid_input", 422)]
)
def test_replicates_client_knows_each_refusal(sandbox, predictions, outcome, status):
    sandbox.control("provider", provider="replicate", outcome=outcome)

    with pytest.raises(replicate.exceptions.ReplicateError) as refused:
        predictions.create(version=VERSION, input={"prompt": PROMPT})
    assert refused.value.status == status


def test_replicates_client_trains_a_model_and_deletes_it(sandbox, replicate_client):
    owner = replicate_client.accounts.current().username
    model = replicate_client.models.create(owner, "mine", visibility="private", hardware="gpu-t4")
    with served(zip_of(4)) as url:
        training = replicate_client.trainings.create(
            version=f"{TRAINER}:e440909d",
            input={"input_images": url, "trigger_word": "ohwx", "steps": 600},
            destination=f"{owner}/mine",
        )
        assert (training.status, "/predictions/" in training.urls["get"]) == ("starting", True)
        training.reload()

    assert (training.status, training.output["version"].partition(":")[0]) == (
        "succeeded", "sandbox/mine",
    )  # fmt: skip
    key = {"Authorization": "Bearer token"}
    content = sandbox.http.get(training.output["weights"], headers=key).content
    assert metadata_of(untarred(content))["trigger_word"] == "ohwx"
    [version] = model.versions.list().results
    assert training.output["version"].endswith(version.id)

    with pytest.raises(replicate.exceptions.ReplicateError):
        replicate_client.models.delete(owner, "mine")
    model.versions.delete(version.id)
    assert model.versions.list().results == [version]
    assert replicate_client.models.delete(owner, "mine")


@pytest.mark.parametrize(
    ("destination", "inputs"),
    [("sandbox/other", {}), ("other/mine", {}), ("sandbox/mine", {"steps": 2})],
)
def test_replicates_client_is_refused_a_training(replicate_client, destination, inputs):
    replicate_client.models.create("sandbox", "mine", visibility="private", hardware="gpu-t4")

    with pytest.raises(replicate.exceptions.ReplicateError) as refused:
        replicate_client.trainings.create(
            version=f"{TRAINER}:e440909d",
            input={"input_images": "http://x/y.zip"} | inputs,
            destination=destination,
        )
    assert refused.value.status == 422


def test_replicates_client_cancels_a_training(sandbox, replicate_client):
    sandbox.control("provider", provider="replicate", queue_seconds=600)
    replicate_client.models.create("sandbox", "mine", visibility="private", hardware="gpu-t4")
    training = replicate_client.trainings.create(
        version=f"{TRAINER}:e440909d",
        input={"input_images": "http://x/y.zip"},
        destination="sandbox/mine",
    )

    training.cancel()

    training.reload()
    assert training.status == "canceled"


def test_replicates_client_verifies_a_webhook_and_refuses_a_forged_one(
    sandbox, predictions, receiver
):
    secret = WebhookSigningSecret(
        key=sandbox.http.get(
            "/replicate/v1/webhooks/default/secret", headers={"Authorization": "Bearer token"}
        ).json()["key"]
    )
    for outcome in ("ok", "webhook_bad_signature"):
        sandbox.control("provider", provider="replicate", outcome=outcome)
        predictions.create(
            version=VERSION,
            input={"prompt": PROMPT},
            webhook=receiver.url,
            webhook_events_filter=["completed"],
        )
        receiver.wait_for(1 if outcome == "ok" else 2)
    genuine, forged = receiver.deliveries

    def check(delivery):
        headers = {name.lower(): value for name, value in delivery["headers"].items()}
        Webhooks.validate(headers=headers, body=delivery["body"].decode(), secret=secret)

    check(genuine)
    with pytest.raises(InvalidSignatureError):
        check(forged)
