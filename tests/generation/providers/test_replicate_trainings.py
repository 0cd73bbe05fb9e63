"""Replicate's trainings: the contract, the model that is trained, and its deletion."""

from __future__ import annotations

import pytest
import requests

from generation.providers.base import Accepted, Failed, FailureReason, Media, Rejected, RetryLater
from generation.providers.replicate import Replicate
from tests.helpers.job_driver import override_provider
from tests.helpers.provider_contract import SignedWebhookContract
from tests.helpers.trained_weights import metadata_of, served, untarred, zip_of

TRAINER = "ostris/flux-dev-lora-trainer/versions/e440909d/trainings"
HOOK = "http://us/hook?token=t"
OURS = {"username": "us"}


@pytest.fixture(scope="module")
def zip_url():
    with served(zip_of(4)) as url:
        yield url


class TestReplicatesTrainingsKeepTheContract(SignedWebhookContract):
    name = "replicate"
    model_id = TRAINER
    states = {"starting", "processing", "succeeded", "failed", "canceled", "aborted"}
    checks_input_first = True
    kind = "weights"
    preparation = ((200, OURS), (201, {}))

    @pytest.fixture(autouse=True)
    def _body(self, zip_url):
        self.body = inputs(zip_url)

    def assert_usable(self, content):
        found = metadata_of(untarred(content))
        assert (found["trigger_word"], found["steps"]) == ("ohwx", "600")


@pytest.fixture
def replicate(sandbox):
    sandbox.provider(provider="replicate", queue_seconds=0, run_seconds=0, webhooks=False)
    return Replicate()


def inputs(zip_url):
    return {
        "destination": "rendio-1",
        "input_images": zip_url,
        "trigger_word": "ohwx",
        "steps": 600,
    }


def send(replicate, body):
    return replicate.submit(model_id=TRAINER, body=body, webhook_url=HOOK, key_label="default")


def test_the_model_that_is_trained_is_made_first_and_is_private(replicate, sandbox, zip_url):
    accepted = send(replicate, inputs(zip_url))

    account, model, training = sandbox.requests("replicate")
    assert account["path"] == "/replicate/v1/account"
    assert (model["body"]["owner"], model["body"]["name"]) == ("sandbox", "rendio-1")
    assert model["body"]["visibility"] == "private"
    assert training["path"].removeprefix("/replicate/v1/models/") == TRAINER
    assert training["body"] == {
        "destination": "sandbox/rendio-1",
        "input": {"input_images": zip_url, "trigger_word": "ohwx", "steps": 600},
        "webhook": HOOK,
        "webhook_events_filter": ["completed"],
    }
    # Not the address of a prediction, which the answer names.
    assert accepted.handle.status_url.endswith(f"/v1/trainings/{accepted.handle.request_id}")
    result = replicate.result(accepted.handle, kind="weights")
    assert result.provider_model.startswith("sandbox/rendio-1:")


def test_a_model_from_an_earlier_attempt_is_used(replicate, sandbox, zip_url):
    sandbox.provider(provider="replicate", outcome="submit_429", times=1)
    assert isinstance(send(replicate, inputs(zip_url)), RetryLater)

    assert isinstance(send(replicate, inputs(zip_url)), Accepted)


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ([(401, {})], (RetryLater, "account")),
        ([(200, {})], (RetryLater, "account")),
        ([(200, OURS), (429, {}), (404, {})], (RetryLater, "no_destination")),
        ([(200, OURS), (500, {}), (500, {})], (RetryLater, "no_destination")),
        ([(200, OURS), (422, {"detail": "No"}), (404, {})], (Rejected, "no_destination")),
    ],
)
def test_without_the_model_nothing_is_trained(stub_server, settings, zip_url, answers, result):
    override_provider(settings, "replicate", url=stub_server.url)
    for status, body in answers:
        stub_server.say(status, body)

    answer = send(Replicate(), inputs(zip_url))

    assert (type(answer), answer.error_type) == result
    assert len(stub_server.asked) == len(answers)
    if isinstance(answer, Rejected):
        assert answer.reason == FailureReason.PROVIDER_ERROR  # not the customer's


def test_the_weights_need_the_key(replicate, sandbox, zip_url):
    handle = send(replicate, inputs(zip_url)).handle
    url = replicate.result(handle, kind="weights").url

    for headers, status in (({}, 401), (replicate.weights_headers(handle), 200)):
        assert requests.get(url, headers=headers, timeout=10).status_code == status


@pytest.mark.parametrize("output", [None, [], {}, {"weights": None}, "https://x/y.tar"])
def test_without_weights_the_result_is_unusable(stub_server, settings, output):
    override_provider(settings, "replicate", url=stub_server.url)
    handle = Replicate().build_handle(model_id=TRAINER, request_id="x", key_label="default")
    stub_server.say(200, {"status": "succeeded", "output": output})

    result = Replicate().result(handle, kind="weights")

    assert isinstance(result, Failed)
    assert (result.reason, result.error_type) == (FailureReason.UNUSABLE, "no_weights")


def test_a_zip_that_cannot_be_opened_fails_the_training(replicate, sandbox):
    with served(b"no zip") as url:
        result = replicate.result(send(replicate, inputs(url)).handle, kind="weights")

    assert isinstance(result, Failed)
    assert (result.reason, result.error_type) == (FailureReason.PROVIDER_ERROR, "failed")
    assert "not a zip" in result.detail


def test_a_model_is_deleted_with_its_versions_and_deleting_twice_is_harmless(
    replicate, sandbox, zip_url
):
    handle = send(replicate, inputs(zip_url)).handle
    result = replicate.result(handle, kind="weights")
    assert isinstance(result, Media)

    deleted = [replicate.delete_model(result.provider_model, key_label="default") for _ in range(4)]

    # Replicate deletes versions later than it says, and a model only after its versions.
    assert deleted == [False, True, True, True]
    calls = [
        asked["path"] for asked in sandbox.requests("replicate") if asked["method"] == "DELETE"
    ]
    version = result.provider_model.partition(":")[2]
    model = "/replicate/v1/models/sandbox/rendio-1"
    assert calls == [f"{model}/versions/{version}", model, model]


def test_a_model_without_a_result_is_deleted_by_its_name(replicate, sandbox, zip_url):
    sandbox.provider(provider="replicate", outcome="error")
    send(replicate, inputs(zip_url))

    assert replicate.delete_model("rendio-1", key_label="default")

    assert "/replicate/v1/models/sandbox/rendio-1" in {
        asked["path"] for asked in sandbox.requests("replicate") if asked["method"] == "DELETE"
    }


def test_a_deletion_without_an_answer_is_to_be_repeated(settings):
    override_provider(settings, "replicate", url="http://127.0.0.1:9")

    assert not Replicate().delete_model("rendio-1", key_label="default")
    assert not Replicate().delete_model("us/rendio-1:1", key_label="default")
