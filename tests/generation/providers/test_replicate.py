"""Replicate: the contract, and its own words and what we take them for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from generation import media
from generation.providers.base import CancelResult, Done, Failed, FailureReason, Media, Running
from generation.providers.replicate import Replicate
from tests.helpers.job_driver import override_provider
from tests.helpers.provider_contract import SignedWebhookContract

VERSION = "wan-video/wan-2.2-t2v-fast"
ORDER = {"prompt": "A red balloon", "aspect_ratio": "9:16"}
HOOK = "http://us/hook?token=t"


class TestReplicateKeepsTheContract(SignedWebhookContract):
    name = "replicate"
    model_id = VERSION
    body = ORDER
    # https://replicate.com/docs/topics/predictions/lifecycle
    states = {"starting", "processing", "succeeded", "failed", "canceled", "aborted"}
    checks_input_first = True


@pytest.fixture
def replicate(stub_server, settings):
    override_provider(settings, "replicate", url=stub_server.url)
    return Replicate()


@pytest.fixture
def handle(replicate):
    return replicate.build_handle(model_id=VERSION, request_id="id-1", key_label="default")


def send(replicate):
    return replicate.submit(model_id=VERSION, body=ORDER, webhook_url=HOOK, key_label="default")


def test_a_prediction_is_ordered_with_the_webhook_of_its_end(sandbox):
    send(Replicate())

    (asked,) = sandbox.requests("replicate")
    assert asked["body"] == {
        "version": VERSION,
        "input": ORDER,
        "webhook": HOOK,
        "webhook_events_filter": ["completed"],
    }


def test_without_a_secret_no_webhook_is_asked_for(sandbox, settings):
    """None could be believed; polling finds the end."""
    override_provider(settings, "replicate", webhook_secrets=[])

    send(Replicate())

    (asked,) = sandbox.requests("replicate")
    assert asked["body"] == {"version": VERSION, "input": ORDER}


@pytest.mark.parametrize(
    ("prediction", "reading"),
    [
        ({"status": "starting"}, Running(False)),
        ({"status": "processing", "logs": "10%\n 55% done"}, Running(True, 55)),
        ({"status": "processing", "logs": None}, Running(True)),
        ({"status": "succeeded"}, Done()),
        ({"status": "failed"}, Done()),
        ({"status": "canceled"}, Done()),
        ({"status": "aborted"}, Done()),
    ],
)
def test_a_status_is_read(replicate, stub_server, handle, prediction, reading):
    stub_server.say(200, prediction)

    assert replicate.status(handle) == reading


NO_MEDIA = Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")
FLAGGED = "The input or output was flagged as sensitive. (E005)"


@pytest.mark.parametrize(
    ("prediction", "result"),
    [
        ({"output": "https://x/y.mp4"}, Media("https://x/y.mp4", "video")),
        ({"output": ["https://x/y.mp4", "https://x/z"]}, Media("https://x/y.mp4", "video")),
        (
            {"output": ["https://x/y.WEBP?z=1", "https://x/y.mp4"]},
            Media("https://x/y.mp4", "video"),
        ),
        ({"output": ["https://x/y.WEBP?z=1"]}, NO_MEDIA),
        ({"output": "http://[half"}, Media("http://[half", "video")),
        ({"output": None}, NO_MEDIA),
        ({"output": []}, NO_MEDIA),
        ({"output": {"url": "x"}}, NO_MEDIA),
        (
            {"status": "failed", "error": FLAGGED},
            Failed(FailureReason.REJECTED, "content_policy_violation", FLAGGED),
        ),
        (
            {"status": "failed", "error": "Boom"},
            Failed(FailureReason.PROVIDER_ERROR, "failed", "Boom"),
        ),
        ({"status": "failed"}, Failed(FailureReason.PROVIDER_ERROR, "failed", "")),
        ({"status": "canceled"}, Failed(FailureReason.CANCELLED, "canceled", "")),
        ({"status": "aborted"}, Failed(FailureReason.CANCELLED, "aborted", "", Decimal(0))),
    ],
)
def test_an_end_is_read(replicate, stub_server, handle, prediction, result):
    stub_server.say(200, {"status": "succeeded"} | prediction)

    assert replicate.result(handle) == result


@pytest.mark.parametrize(
    "url",
    [
        media.signed_url("training/set/image.jpg"),
        "https://media.example/uploads/a.jpg?X-Amz-Expires=9&X-Amz-Signature=0123456789abcdef",
    ],
    ids=["ours", "of a bucket"],
)
def test_what_a_provider_could_not_load_cannot_be_loaded_by_who_reads_of_it(
    replicate, stub_server, handle, url
):
    key = url.rpartition("/media/" if "/media/" in url else "?")[2]
    told = f"Client error '404 Not Found' for url '{url}' (see https://docs.example/404)"
    stub_server.say(200, {"status": "failed", "error": told})

    failed = replicate.result(handle)

    assert failed.detail == told.replace(key, "…")


@pytest.mark.parametrize(
    ("status", "taken_for"),
    [
        ("starting", CancelResult.REQUESTED),
        ("processing", CancelResult.REQUESTED),
        ("succeeded", CancelResult.TOO_LATE),
        ("failed", CancelResult.TOO_LATE),
        ("canceled", CancelResult.CANCELLED),
        ("aborted", CancelResult.CANCELLED),
        ("unheard of", CancelResult.REQUESTED),
    ],
)
def test_an_answer_to_a_cancellation_is_read(replicate, stub_server, handle, status, taken_for):
    stub_server.say(200, {"status": status})

    assert replicate.cancel(handle) == taken_for


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("https://x/y.WEBP?z=1", Media("https://x/y.WEBP?z=1", "image")),
        (["https://x/y.mp4", "https://x/y"], Media("https://x/y", "image")),
        (["https://x/y.mp4"], NO_MEDIA),
    ],
)
def test_of_a_picture_the_result_is_a_picture(replicate, stub_server, handle, output, result):
    stub_server.say(200, {"status": "succeeded", "output": output})

    assert replicate.result(handle, kind="image") == result


def test_a_version_that_is_not_there_is_not_the_customers_fault(replicate, stub_server):
    stub_server.say(422, {"title": "Invalid version or not permitted", "detail": "No"})

    refused = send(replicate)

    assert (refused.reason, refused.error_type) == (FailureReason.PROVIDER_ERROR, "no_such_model")
