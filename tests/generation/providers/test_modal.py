"""Modal with our own app: the contract, and its own words and what we take them for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from generation.providers.base import (
    Accepted,
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Media,
    Rejected,
    RetryLater,
    Running,
    Unknown,
)
from generation.providers.modal import Modal
from tests.helpers.job_driver import override_provider
from tests.helpers.provider_contract import WebhookContract

ORDER = {"prompt": "A red balloon", "aspect_ratio": "9:16"}
HOOK = "http://us/hook?token=t"


class TestModalKeepsTheContract(WebhookContract):
    name = "modal"
    model_id = "wan-2.2"
    body = ORDER
    # ops/modal/http_api.py
    states = {"queued", "running", "succeeded", "failed", "cancelled"}
    keys = {"one": "wk-number-one:ws-number-one-1111", "two": "wk-number-two:ws-number-two-2222"}
    key_header = "modal-secret"


@pytest.fixture
def modal(stub_server, settings):
    override_provider(settings, "modal", url=stub_server.url)
    settings.MODAL_GPU_SECOND_USD = Decimal("0.001")
    return Modal()


@pytest.fixture
def handle(modal):
    return modal.build_handle(model_id="wan-2.2", request_id="fc-1", key_label="default")


def send(modal):
    return modal.submit(model_id="wan-2.2", body=ORDER, webhook_url=HOOK, key_label="default")


def test_a_call_is_ordered_with_its_webhook_and_both_parts_of_the_key(sandbox, settings):
    send(Modal())

    (asked,) = sandbox.requests("modal")
    assert asked["body"] == {"model": "wan-2.2", "input": ORDER, "webhook": HOOK}
    assert asked["headers"]["modal-key"] == "…dbox"
    assert asked["headers"]["modal-secret"] == "…dbox"


# --- The redirect after 150 seconds ---------------------------------------------------------------


def test_a_slow_submission_is_answered_at_the_address_of_the_redirect(sandbox):
    sandbox.provider(provider="modal", outcome="submit_redirect")

    accepted = send(Modal())

    assert isinstance(accepted, Accepted)
    (job,) = sandbox.jobs("modal")
    assert accepted.handle.request_id == job["request_id"]
    assert [asked["method"] for asked in sandbox.requests("modal")] == ["POST", "GET"]


@pytest.mark.parametrize("status", [404, 422, 429, 401, 500, 302])
def test_after_a_redirect_no_answer_says_that_nothing_runs(modal, stub_server, status):
    stub_server.say(303, b"", Location="/submit?__modal_function_call_id=fc-1")
    stub_server.say(status, {"error": "no"}, Location="http://elsewhere.example/")

    assert isinstance(send(modal), Unknown)
    assert len(stub_server.asked) == 2


@pytest.mark.parametrize("location", ["", "http://elsewhere.example/submit", "http://[half"])
def test_a_redirect_away_is_not_followed(modal, stub_server, location):
    stub_server.say(303, b"", Location=location)

    assert isinstance(send(modal), Unknown)
    assert len(stub_server.asked) == 1


def test_a_result_behind_a_redirect_is_read_there(modal, stub_server, handle):
    stub_server.say(303, b"", Location="/result/fc-1?__modal_function_call_id=fc-2")
    stub_server.say(202, {"status": "running", "progress": 7})

    assert modal.status(handle) == Running(True, 7)


# --- Answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (401, b"modal-http: missing credentials", RetryLater(30, "account", "")),
        (404, b"modal-http: app is stopped", "no_such_model"),
        (404, {"error": "no such model"}, "no_such_model"),
        (500, b"modal-http: internal error", Unknown("status 500")),
    ],
)
def test_what_modal_answers_in_place_of_the_app_is_read(modal, stub_server, status, body, answer):
    stub_server.say(status, body)

    found = send(modal)

    if isinstance(answer, str):
        assert isinstance(found, Rejected)
        assert (found.reason, found.error_type) == (FailureReason.PROVIDER_ERROR, answer)
    else:
        assert found == answer


@pytest.mark.parametrize(
    ("call", "reading"),
    [
        ({"status": "queued"}, Running(False)),
        ({"status": "running", "progress": 55}, Running(True, 55)),
        ({"status": "running", "progress": 700}, Running(True, 100)),
        ({"status": "running", "progress": None}, Running(True)),
        ({"status": "succeeded"}, Done()),
        ({"status": "failed"}, Done()),
        ({"status": "cancelled"}, Done()),
    ],
)
def test_a_status_is_read(modal, stub_server, handle, call, reading):
    stub_server.say(202, call)

    assert modal.status(handle) == reading


URL = "https://x/y.mp4"


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (
            {"output": {"files": [URL]}, "execution_ms": 12_500},
            Media(URL, "video", Decimal("0.0125")),
        ),
        ({"output": {"files": [URL]}}, Media(URL, "video")),
        ({"output": None}, Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")),
        (
            {"status": "failed", "error": "content_policy_violation: no"},
            Failed(FailureReason.REJECTED, "content_policy_violation", "no"),
        ),
        (
            {"status": "failed", "error": "OutOfMemoryError: CUDA"},
            Failed(FailureReason.PROVIDER_ERROR, "worker_error", "OutOfMemoryError: CUDA"),
        ),
        ({"status": "cancelled"}, Failed(FailureReason.CANCELLED, "cancelled", "")),
    ],
)
def test_an_end_is_read_with_the_price_of_its_seconds(modal, stub_server, handle, call, result):
    stub_server.say(200, {"status": "succeeded"} | call)

    assert modal.result(handle) == result


@pytest.mark.parametrize(
    ("status", "taken_for"),
    [
        ("queued", CancelResult.REQUESTED),
        ("running", CancelResult.REQUESTED),
        ("cancelled", CancelResult.CANCELLED),
        ("succeeded", CancelResult.TOO_LATE),
        ("failed", CancelResult.TOO_LATE),
    ],
)
def test_an_answer_to_a_cancellation_is_read(modal, stub_server, handle, status, taken_for):
    stub_server.say(200, {"status": status})

    assert modal.cancel(handle) == taken_for
