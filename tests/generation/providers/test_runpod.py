"""RunPod: the contract, and its own words and what we take them for."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from generation.providers.base import (
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Media,
    Running,
    Unknown,
)
from generation.providers.runpod import Runpod
from tests.helpers.job_driver import override_provider
from tests.helpers.provider_contract import WebhookContract

ENDPOINT = "4bg7x1k2"
ORDER = {"prompt": "A red balloon", "aspect_ratio": "9:16"}
HOOK = "http://us/hook?token=t"


class TestRunpodKeepsTheContract(WebhookContract):
    name = "runpod"
    model_id = ENDPOINT
    body = ORDER
    # https://docs.runpod.io/serverless/endpoints/job-states, and RUNNING of its own client
    states = {
        "IN_QUEUE", "IN_PROGRESS", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT",
    }  # fmt: skip


@pytest.fixture
def runpod(stub_server, settings):
    override_provider(settings, "runpod", url=stub_server.url)
    settings.RUNPOD_GPU_SECOND_USD = Decimal("0.001")
    return Runpod()


@pytest.fixture
def handle(runpod):
    return runpod.build_handle(model_id=ENDPOINT, request_id="id-1-u1", key_label="default")


def send(runpod, model_id=ENDPOINT):
    return runpod.submit(model_id=model_id, body=ORDER, webhook_url=HOOK, key_label="default")


def test_a_job_is_ordered_with_its_webhook_at_the_endpoint_of_the_name(sandbox, settings):
    settings.RUNPOD_ENDPOINTS = {"wan-2.2": ENDPOINT}

    handle = send(Runpod(), model_id="wan-2.2").handle

    (asked,) = sandbox.requests("runpod")
    assert asked["path"] == f"/runpod/v2/{ENDPOINT}/run"
    assert asked["body"] == {"input": ORDER, "webhook": HOOK}
    assert f"/v2/{ENDPOINT}/status/" in handle.status_url


@pytest.mark.parametrize(
    ("job", "reading"),
    [
        ({"status": "IN_QUEUE"}, Running(False)),
        ({"status": "IN_PROGRESS", "output": {"progress": 55}}, Running(True, 55)),
        ({"status": "IN_PROGRESS", "output": {"progress": 700}}, Running(True, 100)),
        ({"status": "IN_PROGRESS", "output": {"progress": "x"}}, Running(True)),
        ({"status": "IN_PROGRESS", "output": "step 3, 40 %"}, Running(True, 40)),
        ({"status": "RUNNING", "output": {"files": ["https://x/half.mp4"]}}, Running(True)),
        ({"status": "COMPLETED"}, Done()),
        ({"status": "FAILED"}, Done()),
        ({"status": "CANCELLED"}, Done()),
        ({"status": "TIMED_OUT"}, Done()),
    ],
)
def test_a_status_is_read(runpod, stub_server, handle, job, reading):
    stub_server.say(200, job)

    assert runpod.status(handle) == reading


URL = "https://x/y.mp4"
NO_MEDIA = Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")
REPORT = {
    "error_type": "<class 'ValueError'>",
    "error_message": "boom",
    "error_traceback": "File x, line 1: the customer's words",
    "hostname": "secret-host",
    "worker_id": "w1",
}


def broken(detail):
    return Failed(FailureReason.PROVIDER_ERROR, "worker_error", detail)


@pytest.mark.parametrize(
    ("job", "result"),
    [
        ({"output": {"files": [URL, "https://x/z.mp4"]}}, Media(URL, "video")),
        (
            {"output": {"files": [URL]}, "executionTime": 12_500},
            Media(URL, "video", Decimal("0.0125")),
        ),
        ({"output": {"files": [URL]}, "executionTime": "long"}, Media(URL, "video")),
        # A worker that returned an error may have completed its job.
        ({"output": {"files": [URL]}, "error": "out of memory"}, broken("out of memory")),
        ({"output": {"progress": 100}}, NO_MEDIA),
        ({"output": {"files": []}}, NO_MEDIA),
        ({"output": {"files": [7]}}, NO_MEDIA),
        ({"output": URL}, NO_MEDIA),
        ({}, NO_MEDIA),
        (
            {"status": "FAILED", "error": "invalid_input: duration must be 5"},
            Failed(FailureReason.REJECTED, "invalid_input", "duration must be 5"),
        ),
        (
            {"status": "FAILED", "error": "content_policy_violation: no", "executionTime": 0},
            Failed(FailureReason.REJECTED, "content_policy_violation", "no", Decimal(0)),
        ),
        (
            {"status": "FAILED", "error": json.dumps(REPORT)},
            broken("<class 'ValueError'>: boom"),
        ),
        ({"status": "FAILED", "error": "[" * 5000}, broken("[" * 500)),
        ({"status": "FAILED", "error": {"a": 1}}, broken("{'a': 1}")),
        ({"status": "FAILED"}, broken("")),
        ({"status": "CANCELLED"}, Failed(FailureReason.CANCELLED, "cancelled", "")),
        ({"status": "TIMED_OUT"}, Failed(FailureReason.PROVIDER_ERROR, "timed_out", "")),
    ],
)
def test_an_end_is_read_with_the_price_of_its_seconds(runpod, stub_server, handle, job, result):
    stub_server.say(200, {"status": "COMPLETED"} | job)

    assert runpod.result(handle) == result


def test_of_several_pictures_each_is_a_result(runpod, stub_server, handle):
    files = ["https://x/1.png", "", 7, "https://x/2.png"]
    stub_server.say(200, {"status": "COMPLETED", "output": {"files": files}})

    assert runpod.result(handle, kind="image") == Media(
        "https://x/1.png", "image", more_urls=("https://x/2.png",)
    )


def test_a_result_that_is_no_longer_kept_is_no_failure(runpod, stub_server, handle):
    """After 30 minutes. The job is refunded at its deadline, and the file may still be there."""
    stub_server.say(404, {"error": "job not found"})

    assert runpod.result(handle) == Unknown("status 404")


@pytest.mark.parametrize(
    ("first", "then", "taken_for", "calls"),
    [
        ("IN_QUEUE", "CANCELLED", CancelResult.CANCELLED, 2),
        ("IN_PROGRESS", "CANCELLED", CancelResult.CANCELLED, 2),
        ("IN_PROGRESS", "COMPLETED", CancelResult.TOO_LATE, 2),
        ("IN_PROGRESS", "IN_PROGRESS", CancelResult.REQUESTED, 2),
        ("COMPLETED", "CANCELLED", CancelResult.TOO_LATE, 1),
        ("CANCELLED", "CANCELLED", CancelResult.CANCELLED, 1),
    ],
)
def test_a_finished_job_is_never_asked_to_stop(
    runpod, stub_server, handle, first, then, taken_for, calls
):
    stub_server.say(200, {"status": first}).say(200, {"status": then})

    assert runpod.cancel(handle) == taken_for
    assert len(stub_server.asked) == calls
