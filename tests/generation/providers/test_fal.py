"""fal: the contract, and its own words and what we take them for."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from generation.providers import fal_webhooks
from generation.providers.base import (
    Accepted,
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Handle,
    Media,
    Rejected,
    RetryLater,
    Running,
    Unknown,
)
from generation.providers.fal import Fal
from tests.helpers.job_driver import override_provider
from tests.helpers.provider_contract import SignedWebhookContract

MODEL = "fal-ai/sora-2/text-to-video"
KEY_WANTED = "Authentication is required"
LOCKED = "User is locked. Reason: Exhausted balance."
NO_MODEL = 'Application "x" not found'
DOWNSTREAM, UPLOADING = "downstream_service_error", "An upload is in progress"
A_DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
TALK = [{"message": "20 %"}, {"message": "done soon"}]
NOISE = [None, 7, {"message": None}, {"message": "999%"}]
NO_MEDIA = Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")
GONE = {"detail": "Gone", "error_type": "client_cancelled"}
BAD = {"detail": "Boom", "error_type": "bad_request"}
POLICY = {"detail": [{"loc": ["body", "prompt"], "msg": "No", "type": "content_policy_violation"}]}


def said(error_type, message):
    """The body of a model's own error."""
    return {"detail": [{"msg": message, "type": error_type}]}


def broken(error_type, detail, answer=Failed):
    return answer(FailureReason.PROVIDER_ERROR, error_type, detail)


class TestFalKeepsTheContract(SignedWebhookContract):
    name = "fal"
    model_id = MODEL
    body = {"prompt": "A red balloon", "duration": 4}
    # https://docs.fal.ai/model-apis/model-endpoints/queue
    states = {"IN_QUEUE", "IN_PROGRESS", "COMPLETED"}

    @pytest.fixture(autouse=True)
    def _no_keys_yet(self):
        fal_webhooks.keys.clear()


@pytest.fixture
def fal(stub_server, settings):
    override_provider(settings, "fal", url=stub_server.url)
    return Fal()


@pytest.fixture
def handle(fal):
    return fal.build_handle(model_id=MODEL, request_id="id-1", key_label="default")


def send(fal):
    return fal.submit(
        model_id=MODEL,
        body={"prompt": "x"},
        webhook_url="http://us/hook?token=t",
        key_label="default",
    )


@pytest.mark.parametrize(
    ("status", "body", "headers", "taken_for"),
    [
        (401, {"detail": KEY_WANTED}, {}, RetryLater(30, "account", KEY_WANTED)),
        (403, {"detail": LOCKED}, {}, RetryLater(30, "account", LOCKED)),
        (404, {"detail": NO_MODEL}, {}, broken("no_such_model", NO_MODEL, Rejected)),
        (429, {"detail": "Full"}, {"Retry-After": "7"}, RetryLater(7, "rate_limited", "Full")),
        (429, {"detail": "Full"}, {"Retry-After": "99999"}, RetryLater(60, "rate_limited", "Full")),
        (429, {"detail": "Full"}, {"Retry-After": "0"}, RetryLater(1, "rate_limited", "Full")),
        (429, {"detail": "Full"}, {"Retry-After": "\u00b2"}, RetryLater(5, "rate_limited", "Full")),
        (429, {"detail": "Full"}, {"Retry-After": A_DATE}, RetryLater(5, "rate_limited", "Full")),
        (429, b"", {}, RetryLater(5, "rate_limited", "")),
        (400, BAD, {}, Rejected(FailureReason.REJECTED, "bad_request", "Boom")),
        (422, POLICY, {}, Rejected(FailureReason.REJECTED, "content_policy_violation", "No")),
        (422, {"detail": "Plain words"}, {}, Rejected(FailureReason.REJECTED, "", "Plain words")),
        (413, b"<html>", {}, Rejected(FailureReason.REJECTED, "", "")),
    ],
)  # fmt: skip
def test_a_refused_submission_runs_nothing(fal, stub_server, status, body, headers, taken_for):
    stub_server.say(status, body, **headers)

    assert send(fal) == taken_for
    assert len(stub_server.asked) == 1


@pytest.mark.parametrize("status", [302, 307, 408, 409, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", BAD, b"<html>nginx"])
def test_any_other_answer_to_a_submission_leaves_open_whether_it_runs(
    fal, stub_server, status, body
):
    stub_server.say(status, body, Location="/elsewhere", Retry_After="1")

    assert send(fal) == Unknown(f"status {status}")
    assert len(stub_server.asked) == 1


def test_a_submission_states_how_long_fal_keeps_the_result(fal, stub_server):
    send(fal)

    [(_, _, headers)] = stub_server.asked
    lifetime = json.loads(headers["X-Fal-Object-Lifecycle-Preference"])
    assert lifetime == {"expiration_duration_seconds": 7 * 24 * 3600}


@pytest.mark.parametrize(
    ("payload", "url"),
    [
        (
            {"diffusers_lora_file": {"url": "https://x/a"}, "config_file": {"url": "y"}},
            "https://x/a",
        ),
        ({"lora_file": {"url": "https://x/b"}}, "https://x/b"),
        ({"diffusers_lora_file": None}, None),
        ({"images": [{"url": "https://x/c"}]}, None),
    ],
)
def test_the_weights_of_a_training_are_read(fal, payload, url):
    result = fal.parse_result(payload, kind="weights")

    assert getattr(result, "url", None) == url
    if url is None:
        assert result.reason == FailureReason.UNUSABLE


def test_a_submission_to_nobody_was_not_sent(fal, settings):
    override_provider(settings, "fal", url="http://127.0.0.1:9")

    assert isinstance(send(fal), RetryLater)


def test_an_acceptance_is_followed_by_fals_own_urls(fal, stub_server):
    base = f"{stub_server.url}/fal-ai/sora-2/requests/abc"
    urls = {
        "response_url": f"{base}/response",
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }
    stub_server.say(200, {"request_id": "abc", "queue_position": 3, **urls})

    assert send(fal) == Accepted(
        Handle("abc", f"{base}/status", f"{base}/response", f"{base}/cancel", "default"), 3
    )
    method, path, headers = stub_server.asked[0]
    assert (method, path) == (
        "POST", f"/{MODEL}?fal_webhook=http%3A%2F%2Fus%2Fhook%3Ftoken%3Dt",
    )  # fmt: skip
    assert headers["Authorization"].startswith("Key ")


@pytest.mark.parametrize(
    ("model_id", "request_id", "path"),
    [
        (MODEL, "r", "fal-ai/sora-2/requests/r"),
        ("fal-ai/veo3.1", "r", "fal-ai/veo3.1/requests/r"),
        ("workflows/me/mine/deep", "r", "workflows/me/mine/requests/r"),
        ("comfy/me/mine", "r", "comfy/me/mine/requests/r"),
        (MODEL, "../../x?y", "fal-ai/sora-2/requests/..%2F..%2Fx%3Fy"),
    ],
)
def test_the_urls_of_a_request_are_its_applications(fal, stub_server, model_id, request_id, path):
    base = f"{stub_server.url}/{path}"

    assert fal.build_handle(model_id=model_id, request_id=request_id, key_label="one") == Handle(
        request_id, f"{base}/status", base, f"{base}/cancel", "one"
    )


@pytest.mark.parametrize(
    ("status", "body", "taken_for"),
    [
        (202, {"status": "IN_QUEUE", "queue_position": 4}, Running(False, None, 4)),
        (202, {"status": "IN_QUEUE"}, Running(False)),
        (202, {"status": "IN_PROGRESS", "logs": None}, Running(True)),
        (202, {"status": "IN_PROGRESS", "logs": [{"message": "Rendering 40%"}]}, Running(True, 40)),
        (202, {"status": "IN_PROGRESS", "logs": TALK}, Running(True, 20)),
        (202, {"status": "IN_PROGRESS", "logs": NOISE}, Running(True, 100)),
        (202, {"status": "IN_PROGRESS", "logs": "50%"}, Running(True)),
        (200, {"status": "COMPLETED"}, Done()),
        (200, {"status": "COMPLETED", "error": "Boom", "error_type": "x"}, Done()),
        (200, {"status": "WARMING_UP"}, Unknown("status 'WARMING_UP'")),
        (200, {"status": "FAILED"}, Unknown("status 'FAILED'")),
        (200, {"status": None}, Unknown("status ''")),
        (200, b"<html>", Unknown("status ''")),
        (200, b"[" * 5000, Unknown("status ''")),
        (404, {"status": "NOT_FOUND"}, Unknown("status 404")),
        (500, BAD, Unknown("status 500")),
        (302, b"", Unknown("status 302")),
    ],
)  # fmt: skip
def test_a_status_is_read_or_unknown_and_never_a_failure(
    fal, stub_server, handle, status, body, taken_for
):
    stub_server.say(status, body)

    assert fal.status(handle) == taken_for


def test_a_status_with_a_long_log_is_read(fal, stub_server, handle):
    logs = [{"message": "x" * 1000}] * 3000
    stub_server.say(200, {"status": "COMPLETED", "logs": logs})

    assert fal.status(handle) == Done()


@pytest.mark.parametrize(
    ("status", "body", "headers", "taken_for"),
    [
        (200, {"video": {"url": "https://x/y.mp4"}}, {}, Media("https://x/y.mp4", "video")),
        (200, b"<html>Maintenance", {}, Unknown("no JSON object")),
        (200, b"", {}, Unknown("no JSON object")),
        (200, b"[1]", {}, Unknown("no JSON object")),
        (422, POLICY, {}, Failed(FailureReason.REJECTED, "content_policy_violation", "No")),
        (422, {"detail": "Plain words"}, {}, Failed(FailureReason.REJECTED, "", "Plain words")),
        (422, b"", {"X-Fal-Error-Type": "one_of"}, Failed(FailureReason.REJECTED, "one_of", "")),
        (499, GONE, {}, Failed(FailureReason.CANCELLED, "client_cancelled", "Gone")),
        (400, {"detail": "Request is still in progress"}, {}, Running(True)),
        (400, said(DOWNSTREAM, "Upstream"), {}, broken(DOWNSTREAM, "Upstream")),
        (400, said(DOWNSTREAM, UPLOADING), {}, broken(DOWNSTREAM, UPLOADING)),
        (400, BAD, {}, Failed(FailureReason.REJECTED, "bad_request", "Boom")),
        (500, said("internal_server_error", "Broke"), {}, broken("internal_server_error", "Broke")),
        (504, said("generation_timeout", "Slow"), {}, broken("generation_timeout", "Slow")),
        (500, {"detail": "Boom"}, {}, broken("", "Boom")),
        (500, b"", {}, Unknown("status 500")),
        (502, b"<html>nginx", {}, Unknown("status 502")),
        (401, {"detail": "Key"}, {}, Unknown("status 401")),
        (403, {"detail": "Locked"}, {}, Unknown("status 403")),
        (404, {"status": "NOT_FOUND"}, {}, Unknown("status 404")),
        (408, b"", {}, Unknown("status 408")),
        (429, b"", {}, Unknown("status 429")),
        (202, {}, {}, Unknown("status 202")),
    ],
)  # fmt: skip
def test_a_result_is_read_by_its_status_code(
    fal, stub_server, handle, status, body, headers, taken_for
):
    stub_server.say(status, body, **headers)

    assert fal.result(handle) == taken_for


FILE = {"url": "https://x/y"}


@pytest.mark.parametrize(
    ("kind", "body", "is_understood"),
    [
        ("video", {"video": FILE, "thumbnail": {"url": "https://x/z"}}, True),
        ("video", {"videos": [FILE, {"url": "https://x/z"}]}, True),
        ("image", {"images": [FILE], "seed": 7}, True),
        ("image", {"image": FILE}, True),
        ("video", {"images": [FILE], "image": FILE}, False),
        ("image", {"video": FILE}, False),
        ("video", {"video": {"url": None}}, False),
        ("video", {"video": "https://x/y"}, False),
        ("video", {"videos": []}, False),
        ("image", {"images": [None]}, False),
        ("video", {"film": FILE}, False),
        ("video", {}, False),
    ],
)
def test_a_result_is_found_by_what_its_route_makes(
    fal, stub_server, handle, kind, body, is_understood
):
    stub_server.say(200, body)

    result = fal.result(handle, kind=kind)

    assert result == (Media("https://x/y", kind) if is_understood else NO_MEDIA)
    assert json.loads(result.raw) == body
    assert fal.parse_result(json.loads(result.raw), kind=kind) == result


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (None, Media("https://x/1", "image", more_urls=("https://x/2",))),
        ([False, False], Media("https://x/1", "image", more_urls=("https://x/2",))),
        ([True, False], Media("https://x/2", "image")),
        ([False, True], Media("https://x/1", "image")),
        ([True, True], Failed(FailureReason.RESULT_FLAGGED, "has_nsfw_concepts", "")),
    ],
)
def test_images_that_the_safety_checker_blackened_are_left_out(fal, flags, expected):
    images = [{"url": "https://x/1"}, {"url": "https://x/2"}]

    result = fal.parse_result({"images": images, "has_nsfw_concepts": flags}, kind="image")

    assert result == expected


# Every error that fal documents: https://docs.fal.ai/model-apis/errors
OF_THE_INPUT = [
    "content_policy_violation", "no_media_generated", "image_too_small", "image_too_large",
    "image_load_error", "file_download_error", "face_detection_error", "file_too_large",
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of",
    "sequence_too_short", "sequence_too_long", "one_of", "feature_not_supported",
    "unsupported_image_format", "unsupported_audio_format", "unsupported_video_format",
    "missing", "value_error",
]  # fmt: skip
OF_THE_MODEL = [
    (500, "internal_server_error"), (504, "generation_timeout"), (400, "downstream_service_error"),
    (500, "downstream_service_error"), (500, "downstream_service_unavailable"),
]  # fmt: skip
# And of its infrastructure: https://docs.fal.ai/model-apis/model-endpoints/queue
INFRASTRUCTURE = [
    (504, "request_timeout"), (504, "startup_timeout"), (503, "runner_scheduling_failure"),
    (503, "runner_connection_timeout"), (503, "runner_disconnected"),
    (503, "runner_connection_refused"), (503, "runner_connection_error"),
    (502, "runner_incomplete_response"), (500, "runner_server_error"), (500, "internal_error"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "errors"),
    [
        (FailureReason.REJECTED, [(422, error_type) for error_type in OF_THE_INPUT]),
        (FailureReason.PROVIDER_ERROR, OF_THE_MODEL),
    ],
)
def test_each_documented_error_of_a_model_is_an_end(fal, stub_server, handle, reason, errors):
    for status, error_type in errors:
        stub_server.say(status, said(error_type, "Boom"))

        assert fal.result(handle) == Failed(reason, error_type, "Boom"), error_type


@pytest.mark.parametrize(
    ("status", "error_type", "reason"),
    [
        (400, "bad_request", FailureReason.REJECTED),
        (499, "client_disconnected", FailureReason.CANCELLED),
        (499, "client_cancelled", FailureReason.CANCELLED),
    ],
)
def test_what_the_infrastructure_says_of_the_request_is_an_end(
    fal, stub_server, handle, status, error_type, reason
):
    stub_server.say(status, {"detail": "Boom", "error_type": error_type})

    assert fal.result(handle) == Failed(reason, error_type, "Boom")


@pytest.mark.parametrize(("status", "error_type"), INFRASTRUCTURE)
@pytest.mark.parametrize("place", ["header", "body"])
def test_fals_own_trouble_is_the_jobs_end_only_if_the_queue_says_so(
    fal, stub_server, handle, status, error_type, place
):
    body = {"detail": "Boom"} | ({"error_type": error_type} if place == "body" else {})
    headers = {"X-Fal-Error-Type": error_type} if place == "header" else {}
    ended = {"status": "COMPLETED", "error": "Boom", "error_type": error_type}
    stub_server.say(status, body, **headers).say(200, ended)
    stub_server.say(status, body, **headers).say(200, {"status": "COMPLETED"})
    stub_server.say(status, body, **headers).say(500)

    assert fal.result(handle) == Failed(FailureReason.PROVIDER_ERROR, error_type, "Boom")
    assert fal.result(handle) == Unknown(f"status {status}")
    assert fal.result(handle) == Unknown(f"status {status}")


@pytest.mark.parametrize(
    ("status", "body", "taken_for"),
    [
        (202, {"status": "CANCELLATION_REQUESTED"}, CancelResult.REQUESTED),
        (200, {"status": "OK"}, CancelResult.REQUESTED),
        (400, {"status": "ALREADY_COMPLETED"}, CancelResult.TOO_LATE),
        (404, {"status": "NOT_FOUND"}, CancelResult.TOO_LATE),
        (500, b"", CancelResult.UNKNOWN),
        (401, b"", CancelResult.UNKNOWN),
        (429, b"", CancelResult.UNKNOWN),
    ],
)
def test_an_answer_to_a_cancellation(fal, stub_server, handle, status, body, taken_for):
    stub_server.say(status, body)

    assert fal.cancel(handle) == taken_for
    assert stub_server.asked[0][0] == "PUT"


def test_an_answer_without_end_is_no_answer(fal, stub_server, handle):
    stub_server.say(200, json.dumps({"status": "COMPLETED", "logs": "x" * 9_000_000}).encode())

    assert isinstance(fal.status(handle), Unknown)


# --- Hints, bills and the backup host -------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-Fal-Needs-Retry", "X-Fal-Retryable"])
@pytest.mark.parametrize(("hint", "is_one"), [("true", True), ("1", True), ("false", False)])
def test_a_hint_to_try_again_clears_the_input(fal, stub_server, handle, name, hint, is_one):
    stub_server.say(422, POLICY, **{name: hint}).say(400, BAD, **{name: hint})
    stub_server.say(400, BAD, **{name: hint})
    reason = FailureReason.PROVIDER_ERROR if is_one else FailureReason.REJECTED

    assert fal.result(handle).reason == reason
    assert fal.result(handle).reason == reason
    assert isinstance(send(fal), RetryLater if is_one else Rejected)


@pytest.mark.parametrize(
    ("units", "cost"),
    [("0", Decimal(0)), ("0.0", Decimal(0)), ("1", None), ("", None), ("no", None)],
)
def test_only_nothing_can_be_read_from_fals_units(fal, stub_server, handle, units, cost):
    stub_server.say(422, POLICY, **{"X-Fal-Billable-Units": units})

    assert fal.result(handle).cost_usd == cost


def test_the_backup_host_is_asked_where_no_connection_can_be_made(sandbox, settings):
    settings.FAL_BACKUP_URL = settings.PROVIDERS["fal"].url
    override_provider(settings, "fal", url="http://127.0.0.1:9")
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)

    answer = send(Fal())

    assert isinstance(answer, Accepted)
    assert Fal().status(answer.handle) == Done()
    assert len(sandbox.jobs()) == 1


@pytest.mark.parametrize("outcome", ["submit_timeout", "submit_lost", "submit_500"])
def test_the_backup_host_is_not_asked_once_the_body_may_have_left(
    sandbox, settings, no_long_wait, outcome
):
    settings.FAL_BACKUP_URL = settings.PROVIDERS["fal"].url
    sandbox.provider(outcome=outcome)

    assert isinstance(send(Fal()), Unknown)

    assert len(sandbox.requests()) == 1


def test_at_the_backup_host_only_the_queue_is_asked(stub_server, settings):
    settings.FAL_BACKUP_URL = stub_server.url
    override_provider(settings, "fal", url="http://127.0.0.1:9/queue")
    elsewhere = Handle("x", "http://127.0.0.1:9/status", "", "", "default")

    assert isinstance(Fal().status(elsewhere), Unknown)
    assert stub_server.asked == []
