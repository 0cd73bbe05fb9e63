import json
import signal
import socket

import httpx
import pytest


def test_error_is_a_completed_job_whose_result_is_an_infrastructure_failure(sandbox):
    sandbox.fal(outcome="error")
    job = sandbox.submitted()

    status, result = sandbox.completed(job), sandbox.result(job)

    assert status.status_code == 200
    assert status.json()["error_type"] == "runner_server_error"
    assert status.json()["error"] == result.json()["detail"]
    assert result.status_code == 500
    assert result.json()["error_type"] == result.headers["x-fal-error-type"]
    assert result.headers["x-fal-billable-units"] == "0"


def test_content_policy_is_final_and_shows_only_in_the_result(sandbox):
    sandbox.fal(outcome="content_policy")
    job = sandbox.submitted()

    status, result = sandbox.completed(job).json(), sandbox.result(job)

    assert "error" not in status
    assert result.status_code == 422
    (error,) = result.json()["detail"]
    assert error["type"] == "content_policy_violation"
    assert error["loc"] == ["body", "prompt"]
    assert error["input"] == sandbox.VIDEO["prompt"]
    assert error["url"] == "https://docs.fal.ai/errors#content_policy_violation"
    assert result.headers["x-fal-needs-retry"] == result.headers["x-fal-retryable"] == "false"
    assert result.headers["x-fal-billable-units"] == "1"


def test_invalid_input_names_the_field_and_is_not_billed(sandbox):
    sandbox.fal(outcome="invalid_input")
    job = sandbox.submitted()

    status, result = sandbox.completed(job).json(), sandbox.result(job)

    assert "error" not in status
    assert result.status_code == 422
    (error,) = result.json()["detail"]
    assert (error["type"], error["loc"]) == ("one_of", ["body", "duration"])
    assert error["ctx"] == {"expected": [4, 6, 8]}
    assert result.headers["x-fal-billable-units"] == "0"


def test_hang_runs_and_never_finishes(sandbox, receiver):
    sandbox.fal(outcome="hang", times=1)
    job = sandbox.submitted(webhook=receiver.url)
    look = lambda: sandbox.get(job["status_url"], params={"logs": 1}).json()  # noqa: E731

    # Once another, taken later, is through, this one would be too.
    sandbox.result(sandbox.submitted(webhook=receiver.url))
    (delivery,) = receiver.wait_for(1)

    assert look()["status"] == "IN_PROGRESS"
    assert sandbox.wait_for(lambda: len(lines := look()["logs"]) == 5 and lines)
    assert json.loads(delivery["body"])["request_id"] != job["request_id"]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("submit_403_balance", 403), ("submit_500", 500), ("submit_503", 503), ("submit_429", 429)],
)
def test_a_refused_submission_runs_nothing(sandbox, outcome, status):
    sandbox.fal(outcome=outcome, times=1)

    assert sandbox.submit().status_code == status
    assert sandbox.jobs() == []
    assert sandbox.submit().status_code == 200


def test_an_empty_balance_is_refused_with_fals_message(sandbox):
    sandbox.fal(outcome="submit_403_balance")

    detail = sandbox.submit().json()["detail"]

    assert detail.startswith("User is locked. Reason: Exhausted balance.")


def test_a_429_has_retry_after(sandbox):
    sandbox.fal(outcome="submit_429")

    assert sandbox.submit().headers["retry-after"] == "1"


def test_a_submission_that_times_out_is_never_answered_and_runs_nothing(sandbox):
    sandbox.fal(outcome="submit_timeout", times=1)

    with pytest.raises(httpx.ReadTimeout):
        sandbox.submit(timeout=0.5)

    (asked,) = sandbox.requests()
    assert asked["body"] == sandbox.VIDEO
    assert asked["answered"] is None
    assert sandbox.jobs() == []


def test_a_lost_submission_drops_the_connection_and_runs(sandbox, receiver, raw_submit):
    sandbox.fal(outcome="submit_lost", times=1)

    connection = raw_submit(model=f"{sandbox.MODEL}?fal_webhook={receiver.url}")

    assert connection.recv(1) == b""  # closed, without a byte
    (job,) = sandbox.jobs()
    assert job["input"] == sandbox.VIDEO
    assert receiver.first()["request_id"] == job["request_id"]
    assert receiver.first()["status"] == "OK"
    assert sandbox.requests()[0]["answered"] is None


def test_a_lost_submission_is_a_protocol_error_to_an_http_client(sandbox):
    sandbox.fal(outcome="submit_lost", times=1)

    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.submit()

    assert len(sandbox.jobs()) == 1


def test_status_500_does_not_stop_the_job(sandbox, receiver):
    sandbox.fal(outcome="status_500")
    job = sandbox.submitted(webhook=receiver.url)

    assert receiver.first()["status"] == "OK"
    assert sandbox.get(job["status_url"]).status_code == 500
    assert sandbox.get(job["status_url"] + "/stream").status_code == 500
    assert sandbox.get(job["response_url"]).status_code == 200


def test_an_unknown_status_comes_once_and_the_job_continues(sandbox):
    sandbox.fal(outcome="status_unknown")
    job = sandbox.submitted()

    first = sandbox.get(job["status_url"])

    assert first.status_code == 202
    assert first.json()["status"] not in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")
    assert sandbox.result(job).status_code == 200


@pytest.mark.parametrize(("outcome", "status"), [("result_500", 500), ("result_404", 404)])
def test_a_result_may_be_unavailable_after_a_completed_job(sandbox, receiver, outcome, status):
    sandbox.fal(outcome=outcome)
    job = sandbox.submitted(webhook=receiver.url)

    assert "error" not in sandbox.completed(job).json()
    assert sandbox.result(job).status_code == status
    assert receiver.first()["status"] == "OK"


def test_a_deleted_file_is_404(sandbox):
    sandbox.fal(outcome="media_404")

    url = sandbox.result(sandbox.submitted()).json()["video"]["url"]

    assert sandbox.http.get(url).status_code == 404


def test_a_truncated_file_ends_before_its_content_length(sandbox):
    sandbox.fal(outcome="media_truncated")
    video = sandbox.result(sandbox.submitted()).json()["video"]

    with sandbox.http.stream("GET", video["url"]) as answer:
        chunks = answer.iter_bytes(1)
        received = b"".join(next(chunks) for _ in range(video["file_size"] // 2))
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)

    assert int(answer.headers["content-length"]) == video["file_size"]
    assert received[4:8] == b"ftyp"


def test_a_huge_file_has_no_end_and_no_content_length(sandbox):
    sandbox.fal(outcome="media_huge")
    video = sandbox.result(sandbox.submitted()).json()["video"]

    received = 0
    with sandbox.http.stream("GET", video["url"]) as answer:
        for chunk in answer.iter_bytes():
            received += len(chunk)
            if received > 32 * 1024**2:
                break

    assert "content-length" not in answer.headers
    assert received > 32 * 1024**2


def test_an_invalid_video_has_a_video_content_type(sandbox):
    sandbox.fal(outcome="media_not_video")
    video = sandbox.result(sandbox.submitted()).json()["video"]

    answer = sandbox.http.get(video["url"])

    assert answer.headers["content-type"] == "video/mp4"
    assert b"ftyp" not in answer.content


def test_an_outcome_applies_to_its_number_of_submissions(sandbox):
    sandbox.fal(outcome="submit_500", times=2)

    assert [sandbox.submit().status_code for _ in range(3)] == [500, 500, 200]


def test_an_outcome_without_a_count_applies_until_it_is_changed(sandbox):
    sandbox.fal(outcome="submit_500")
    before = [sandbox.submit().status_code for _ in range(3)]

    sandbox.fal(outcome="ok")

    assert before == [500, 500, 500]
    assert sandbox.submit().status_code == 200


def test_an_outcome_for_one_model_does_not_affect_others(sandbox):
    sandbox.fal(outcome="submit_500", model="fal-ai/veo3.1", times=1)

    assert sandbox.submit(model=sandbox.MODEL).status_code == 200
    assert sandbox.submit(model="fal-ai/veo3.1").status_code == 500
    assert sandbox.submit(model="fal-ai/veo3.1").status_code == 200


def test_a_refused_caller_does_not_use_up_an_outcome(sandbox):
    sandbox.fal(outcome="submit_500", times=1)

    sandbox.http.post(f"/fal/queue/{sandbox.MODEL}", json=sandbox.VIDEO)

    assert sandbox.submit().status_code == 500


def test_outcome_and_timing_are_set_independently(sandbox):
    sandbox.fal(queue_seconds=60)
    sandbox.fal(outcome="hang")

    settings = sandbox.fal(run_seconds=9)

    assert (settings["queue_seconds"], settings["run_seconds"]) == (60, 9)
    assert settings["outcome"] == "hang"


def test_the_sandbox_stops_while_requests_hang(own_process):
    process, sandbox, _ = own_process
    sandbox.fal(outcome="submit_timeout")
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /fal/queue/{sandbox.MODEL} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {sandbox.KEY}\r\n"
            "Content-Length: 2\r\n\r\n{}".encode()
        )
        sandbox.wait_for(sandbox.requests)

        process.send_signal(signal.SIGTERM)
        process.wait(timeout=3)
        _, errors = process.communicate()

    assert process.returncode == 0
    assert errors == ""
