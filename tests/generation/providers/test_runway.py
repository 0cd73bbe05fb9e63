"""Runway: the contract, and its own words and what we take them for."""

from __future__ import annotations

import hashlib
import hmac
from decimal import Decimal

import pytest

from generation.providers.base import (
    Accepted,
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Media,
    Running,
)
from generation.providers.runway import Runway
from generation.providers.signatures import BadSignature
from tests.helpers.job_driver import override_provider
from tests.helpers.provider_contract import ProviderContract

ORDER = {"promptText": "A red balloon", "duration": 5, "aspect_ratio": "9:16", "resolution": "720p"}
SECRET = "a secret that we share with a relay"


class TestRunwayKeepsTheContract(ProviderContract):
    name = "runway"
    model_id = "gen4.5"
    body = ORDER
    # runwayml 5.24.0, types/task_retrieve_response.py
    states = {"PENDING", "THROTTLED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"}


@pytest.fixture
def runway(stub_server, settings):
    override_provider(settings, "runway", url=stub_server.url)
    return Runway()


@pytest.fixture
def handle(runway):
    return runway.build_handle(model_id="gen4.5", request_id="id-1", key_label="default")


def send(runway, **changes):
    return runway.submit(
        model_id="gen4.5", body=ORDER | changes, webhook_url="http://us/hook", key_label="default"
    )


@pytest.mark.parametrize(
    ("resolution", "aspect_ratio", "ratio"),
    [
        ("720p", "16:9", "1280:720"),
        ("720p", "9:16", "720:1280"),
        ("1080p", "16:9", "1920:1080"),
        ("1080p", "9:16", "1080:1920"),
    ],
)
def test_shape_and_size_are_one_word_there(sandbox, resolution, aspect_ratio, ratio):
    answer = send(Runway(), resolution=resolution, aspect_ratio=aspect_ratio)

    assert isinstance(answer, Accepted)
    (asked,) = sandbox.requests("runway")
    assert (asked["path"], asked["headers"]["x-runway-version"]) == (
        "/runway/v1/text_to_video", "2024-11-06",
    )  # fmt: skip
    assert asked["body"] == {
        "model": "gen4.5", "promptText": "A red balloon", "duration": 5, "ratio": ratio,
    }  # fmt: skip


def test_a_shape_it_cannot_make_is_refused_without_asking(runway, stub_server):
    assert send(runway, aspect_ratio="1:1").error_type == "cannot_serve"
    assert stub_server.asked == []


def test_with_a_picture_it_goes_to_the_other_address(sandbox):
    send(Runway(), promptImage="https://example.com/x.jpg")

    (asked,) = sandbox.requests("runway")
    assert asked["path"] == "/runway/v1/image_to_video"


@pytest.mark.parametrize(
    ("task", "reading"),
    [
        ({"status": "PENDING"}, Running(False)),
        ({"status": "THROTTLED"}, Running(False)),
        ({"status": "RUNNING", "progress": 0.42}, Running(True, 42)),
        ({"status": "RUNNING", "progress": 7}, Running(True, 100)),
        ({"status": "RUNNING", "progress": "half"}, Running(True)),
        ({"status": "RUNNING", "progress": True}, Running(True)),
        ({"status": "RUNNING"}, Running(True)),
        ({"status": "SUCCEEDED"}, Done()),
        ({"status": "FAILED"}, Done()),
        ({"status": "CANCELLED"}, Done()),
    ],
)
def test_a_status_is_read(runway, stub_server, handle, task, reading):
    stub_server.say(200, task)

    assert runway.status(handle) == reading


URL = "https://x.cloudfront.net/y.mp4"
NO_MEDIA = Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")
GIVEN_BACK = Failed(FailureReason.CANCELLED, "cancelled", "", Decimal(0))


def failed(code, reason):
    told = {"status": "FAILED", "failureCode": code, "failure": "Words"}
    return (told, Failed(reason, code, "Words"))


@pytest.mark.parametrize(
    ("task", "result"),
    [
        ({"status": "SUCCEEDED", "output": [URL]}, Media(URL, "video")),
        (
            {"status": "SUCCEEDED", "output": [URL], "cost": {"credits": 60}},
            Media(URL, "video", Decimal("0.60")),
        ),
        ({"status": "SUCCEEDED", "output": [URL], "cost": {"credits": "60"}}, Media(URL, "video")),
        ({"status": "SUCCEEDED", "output": []}, NO_MEDIA),
        ({"status": "CANCELLED", "cost": {"credits": 0}}, GIVEN_BACK),
        failed("SAFETY.INPUT.TEXT", FailureReason.REJECTED),
        failed("SAFETY.OUTPUT.THIRD_PARTY", FailureReason.REJECTED),
        failed("INPUT_PREPROCESSING.INTERNAL", FailureReason.REJECTED),
        failed("ASSET.INVALID", FailureReason.REJECTED),
        failed("INTERNAL.BAD_OUTPUT.CODE01", FailureReason.PROVIDER_ERROR),
        failed("THIRD_PARTY.UNAVAILABLE", FailureReason.PROVIDER_ERROR),
        failed("", FailureReason.PROVIDER_ERROR),
    ],
)  # fmt: skip
def test_an_end_is_read_with_its_cost(runway, stub_server, handle, task, result):
    stub_server.say(200, task)

    assert runway.result(handle) == result


def test_an_acceptance_tells_its_price(sandbox):
    assert send(Runway()).cost_usd == Decimal("0.60")


def test_a_finished_task_is_never_deleted(sandbox):
    """The call that cancels would delete it, and its video with it."""
    sandbox.provider(provider="runway", queue_seconds=0, run_seconds=0)
    handle = send(Runway()).handle

    assert Runway().cancel(handle) == CancelResult.TOO_LATE

    assert {asked["method"] for asked in sandbox.requests("runway")} == {"POST", "GET"}


# --- Webhooks by a relay ------------------------------------------------------------------------


def signed(body, secret=SECRET):
    return {"X-Webhook-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize("name", ["id", "request_id"])
def test_whoever_shares_a_secret_is_believed(settings, name):
    override_provider(
        settings, "runway", webhook_secrets=["another secret, which is older", SECRET]
    )
    body = b'{"%s": "task-1"}' % name.encode()

    event = Runway().verify_webhook(headers=signed(body), body=body)

    assert event.request_id == "task-1"


@pytest.mark.parametrize(
    ("secrets", "headers"),
    [
        ([SECRET], {}),
        ([SECRET], {"X-Webhook-Signature": ""}),
        ([SECRET], {"X-Webhook-Signature": "no hex"}),
        ([SECRET], {"X-Webhook-Signature": "00" * 32}),
        ([SECRET], {"X-Webhook-Signature": "é"}),
        ([SECRET], signed(b"{}", "somebody else's")),
        ([SECRET], signed(b"{} ")),
        ([], signed(b"{}", "")),
    ],
)
def test_nobody_else_is(settings, secrets, headers):
    override_provider(settings, "runway", webhook_secrets=secrets)

    with pytest.raises(BadSignature):
        Runway().verify_webhook(headers=headers, body=b"{}")
