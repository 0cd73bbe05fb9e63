import json
from urllib.parse import urlsplit

import pytest


def test_a_submission_returns_the_urls_of_its_job(sandbox):
    job = sandbox.submitted()

    base = f"{sandbox.url}/fal/queue/fal-ai/sora-2/requests/{job['request_id']}"
    assert job == {
        "status": "IN_QUEUE",
        "request_id": job["request_id"],
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "logs": None,
        "metrics": {},
        "queue_position": 0,
    }


def test_urls_have_the_host_that_the_caller_used(sandbox):
    job = sandbox.submitted(
        headers={
            "Host": "queue.example:8443",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "queue.example:8443",
            "X-Forwarded-Prefix": "",
        }
    )

    base = f"https://queue.example:8443/fal-ai/sora-2/requests/{job['request_id']}"
    assert job["response_url"] == base
    # The front leads to the queue alone; the files are where they always are.
    media = sandbox.result(_direct(sandbox, job)).json()["video"]["url"]
    assert media.startswith(f"{sandbox.url}/fal/files/")


def _direct(sandbox, job):
    base = f"{sandbox.url}/fal/queue/fal-ai/sora-2/requests/{job['request_id']}"
    return {"status_url": f"{base}/status", "response_url": base}


@pytest.mark.parametrize("authorization", [None, "Bearer abc", "Key", "Basic abc"])
def test_a_call_without_a_key_is_refused(sandbox, authorization):
    headers = {"Authorization": authorization} if authorization else {}

    refused = sandbox.http.post(f"/fal/queue/{sandbox.MODEL}", json=sandbox.VIDEO, headers=headers)

    assert refused.status_code == 401
    assert sandbox.jobs() == []
    assert sandbox.submit().status_code == 200


def test_an_invalid_model_id_is_404(sandbox):
    answer = sandbox.submit(model="sora")

    assert answer.status_code == 404
    assert answer.json() == {"detail": 'Application "sora" not found'}


def test_a_body_that_is_not_a_json_object_is_400(sandbox):
    answer = sandbox.submit(body=[1])

    assert answer.status_code == 400
    assert answer.headers["x-fal-error-type"] == answer.json()["error_type"] == "bad_request"
    assert sandbox.jobs() == []


def test_a_job_is_queued_then_running_then_completed(sandbox):
    sandbox.fal(queue_seconds=0.3, run_seconds=0.3)
    job = sandbox.submitted()

    waiting = sandbox.get(job["status_url"])
    running = sandbox.wait_for(
        lambda: (
            (answer := sandbox.get(job["status_url"])).json()["status"] == "IN_PROGRESS" and answer
        )
    )
    completed = sandbox.completed(job)

    urls = {name: job[name] for name in ("request_id", "response_url", "status_url", "cancel_url")}
    assert waiting.status_code == running.status_code == 202
    assert waiting.json() == {"status": "IN_QUEUE", **urls, "queue_position": 0}
    assert running.json() == {"status": "IN_PROGRESS", **urls, "logs": None}
    assert completed.status_code == 200
    assert completed.json() == {
        "status": "COMPLETED",
        **urls,
        "logs": completed.json()["logs"],
        "metrics": {"inference_time": 0.3},
    }


def test_the_queue_position_counts_earlier_jobs_of_the_app(sandbox):
    sandbox.fal(queue_seconds=60)

    positions = [
        sandbox.submitted(model=model)["queue_position"]
        for model in ("fal-ai/veo3.1", "fal-ai/veo3.1/fast", sandbox.MODEL, "fal-ai/veo3.1")
    ]

    assert positions == [0, 1, 0, 2]


def test_a_queue_longer_than_the_caller_allows_is_refused_with_429(sandbox):
    sandbox.fal(queue_seconds=60)
    sandbox.submitted()

    refused = sandbox.submit(params={"fal_max_queue_length": "1"})
    taken = sandbox.submit(params={"fal_max_queue_length": "2"})

    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    assert taken.status_code == 200


@pytest.mark.parametrize("wanted", ["1", "true", "True"])
def test_logs_are_returned_on_request(sandbox, wanted):
    job = sandbox.submitted()
    sandbox.completed(job)

    asked = sandbox.get(job["status_url"], params={"logs": wanted}).json()["logs"]
    not_asked = sandbox.get(job["status_url"], params={"logs": "0"}).json()["logs"]

    assert [line["message"] for line in asked] == [
        f"Rendering {percent}%" for percent in (0, 20, 40, 60, 80, 100)
    ]
    assert {(line["level"], line["source"]) for line in asked} == {("INFO", "USER")}
    assert sorted(line["timestamp"] for line in asked) == [line["timestamp"] for line in asked]
    assert not_asked is None


def test_logs_grow_while_a_job_runs(sandbox):
    sandbox.fal(run_seconds=0.6)
    job = sandbox.submitted()
    look = lambda: sandbox.get(job["status_url"], params={"logs": 1}).json()["logs"]  # noqa: E731

    early = look()
    later = sandbox.wait_for(lambda: len(lines := look()) > len(early) and lines)

    assert later[: len(early)] == early


def test_a_model_without_progress_logs_has_none(sandbox):
    sandbox.fal(progress_logs=False)

    assert sandbox.completed(sandbox.submitted()).json()["logs"] == []


def test_the_stream_sends_each_change_and_closes_after_the_last(sandbox):
    sandbox.fal(queue_seconds=0.2, run_seconds=0.4)
    job = sandbox.submitted()

    stream = sandbox.get(job["status_url"] + "/stream", params={"logs": "1"})

    assert stream.headers["content-type"].startswith("text/event-stream")
    events = [
        json.loads(event.removeprefix("data: "))
        for event in stream.text.split("\n\n")
        if event.startswith("data: ")
    ]
    statuses = [event["status"] for event in events]
    assert list(dict.fromkeys(statuses)) == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    assert statuses.count("COMPLETED") == 1
    assert len(events[-1]["logs"]) == 6


def test_the_result_of_a_running_job_is_refused(sandbox):
    sandbox.fal(run_seconds=60)

    early = sandbox.get(sandbox.submitted()["response_url"])

    assert early.status_code == 400
    assert early.json() == {"detail": "Request is still in progress"}


def test_a_job_answers_under_its_app_its_whole_id_and_with_a_response_suffix(sandbox):
    job = sandbox.submitted()
    sandbox.completed(job)
    request_id = job["request_id"]

    results = [
        sandbox.get(f"/fal/queue/{path}")
        for path in (
            f"fal-ai/sora-2/requests/{request_id}",
            f"fal-ai/sora-2/requests/{request_id}/response",
            f"{sandbox.MODEL}/requests/{request_id}",
        )
    ]
    elsewhere = sandbox.get(f"/fal/queue/fal-ai/veo3.1/requests/{request_id}")

    assert [result.status_code for result in results] == [200, 200, 200]
    assert results[0].json() == results[1].json() == results[2].json()
    assert elsewhere.status_code == 404


@pytest.mark.parametrize(
    ("model", "app"),
    [
        ("workflows/someone/clip/v2", "workflows/someone/clip"),
        ("comfy/someone/clip/v2", "comfy/someone/clip"),
        ("fal-ai/veo3.1", "fal-ai/veo3.1"),
    ],
)
def test_a_job_is_found_under_the_app_of_its_model(sandbox, model, app):
    job = sandbox.submitted(model=model)

    path = urlsplit(job["response_url"]).path
    assert path == f"/fal/queue/{app}/requests/{job['request_id']}"


@pytest.mark.parametrize("what", ["", "/status", "/status/stream"])
def test_an_unknown_job_is_not_found(sandbox, what):
    answer = sandbox.get(f"/fal/queue/fal-ai/sora-2/requests/nobody{what}")

    assert answer.status_code == 404
    assert answer.json() == {"status": "NOT_FOUND"}


def test_a_cancelled_job_leaves_the_queue_and_ends_as_cancelled(sandbox, receiver):
    sandbox.fal(queue_seconds=60)
    job = sandbox.submitted(webhook=receiver.url)

    cancelled = sandbox.put(job["cancel_url"])

    assert cancelled.status_code == 202
    assert cancelled.json() == {"status": "CANCELLATION_REQUESTED"}
    status = sandbox.completed(job).json()
    assert status["error_type"] == "client_cancelled"
    result = sandbox.result(job)
    assert result.status_code == 499
    assert result.json()["error_type"] == "client_cancelled"
    assert result.headers["x-fal-error-type"] == "client_cancelled"
    told = receiver.first()
    assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 499")
    assert told["payload"] == result.json()


def test_a_running_job_may_finish_despite_a_cancellation(sandbox):
    sandbox.fal(run_seconds=0.4)
    job = sandbox.submitted()

    assert sandbox.put(job["cancel_url"]).status_code == 202
    assert sandbox.result(job).status_code == 200


def test_a_running_job_stops_where_the_provider_allows_it(sandbox):
    sandbox.fal(run_seconds=60, cancel_running=True)
    job = sandbox.submitted()

    assert sandbox.put(job["cancel_url"]).status_code == 202
    assert sandbox.result(job).status_code == 499


def test_a_finished_job_cannot_be_cancelled(sandbox):
    job = sandbox.submitted()
    sandbox.completed(job)

    late = sandbox.put(job["cancel_url"])

    assert late.status_code == 400
    assert late.json() == {"status": "ALREADY_COMPLETED"}


def test_cancelling_an_unknown_job_is_not_found(sandbox):
    answer = sandbox.put("/fal/queue/fal-ai/sora-2/requests/nobody/cancel")

    assert answer.status_code == 404
    assert answer.json() == {"status": "NOT_FOUND"}


def test_invalid_input_is_reported_only_in_the_result(sandbox):
    job = sandbox.submitted(body={"duration": 4})

    status, result = sandbox.completed(job).json(), sandbox.result(job)

    assert "error" not in status
    assert result.status_code == 422
    assert result.json()["detail"][0]["loc"] == ["body", "prompt"]
    assert result.json()["detail"][0]["type"] == "missing"
