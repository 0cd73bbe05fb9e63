import signal
import subprocess
import sys

import pytest

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.outcomes import Outcome
from sandbox.fake_provider.scenarios import Scenario, Timing


def test_every_provider_request_is_recorded_with_its_response(sandbox):
    job = sandbox.submitted(params={"fal_webhook": "http://127.0.0.1:1/"})
    sandbox.get("/fal/queue/fal-ai/sora-2/requests/nobody/status", params={"logs": "1"})
    sandbox.http.post("/apple/devicecheck/v1/query_two_bits", content=b"no JSON")

    submission, poll = sandbox.requests("fal")
    (query,) = sandbox.requests("apple")

    assert (submission["method"], submission["path"]) == ("POST", f"/fal/queue/{sandbox.MODEL}")
    assert submission["query"] == {"fal_webhook": "http://127.0.0.1:1/"}
    assert submission["body"] == sandbox.VIDEO
    assert submission["headers"]["content-type"] == "application/json"
    assert (poll["query"], poll["body"], poll["answered"]) == ({"logs": "1"}, None, 404)
    assert (query["body"], query["answered"]) == ("no JSON", 401)
    assert [one["request_id"] for one in sandbox.jobs()] == [job["request_id"]]
    assert submission["at"] < poll["at"] < query["at"]


def test_a_late_result_fails_for_three_minutes_and_then_comes():
    job = Job(
        model="m", app="m", input={}, webhook_url=None, files_url="", failure=None, specs=(),
        scenario=Scenario(Timing(queue_seconds=0, run_seconds=600), Outcome.RESULT_LATE),
    )  # fmt: skip
    assert not job.is_result_unavailable

    job.finish()
    assert job.is_result_unavailable

    job.finished -= 179
    assert job.is_result_unavailable
    job.finished -= 1
    assert not job.is_result_unavailable


@pytest.mark.parametrize("provider", ["fal", "runway", "replicate", "runpod", "modal"])
def test_every_provider_recovers_when_it_is_told_to(sandbox, provider):
    for outcome in ("result_late", "result_500", "status_500"):
        sandbox.control("provider", provider=provider, outcome=outcome)

    assert sandbox.control("recover", provider=provider) == {"recovered": 0}


def test_all_requests_are_listed_without_a_provider_filter(sandbox):
    sandbox.submitted()
    sandbox.http.post("/apple/devicecheck/v1/query_two_bits")

    listed = sandbox.http.get("/control/requests").json()["requests"]

    assert [one["path"].split("/")[1] for one in listed] == ["fal", "apple"]


@pytest.mark.parametrize(
    ("authorization", "remembered"),
    [
        ("Key 0123456789:abcdef", "Key …cdef"),
        ("Key short", "Key …"),
        ("0123456789", "0123456789 …"),
    ],
)
def test_only_the_end_of_a_key_is_recorded(sandbox, authorization, remembered):
    sandbox.http.post("/fal/queue/a/b", json={}, headers={"Authorization": authorization})

    (asked,) = sandbox.requests()
    assert asked["headers"]["authorization"] == remembered


@pytest.mark.parametrize(
    "plan", [{"queue_seconds": 600}, {"run_seconds": 600}, {"outcome": "hang"}]
)
def test_what_runs_is_finished_on_demand(sandbox, receiver, plan):
    sandbox.fal(**plan)
    job = sandbox.submitted(webhook=receiver.url)

    finished = sandbox.control("finish", provider="fal")

    assert finished == {"finished": 1}
    assert sandbox.result(job).json()["video"]["url"]
    assert receiver.first()["status"] == "OK"
    assert sandbox.control("finish", provider="fal") == {"finished": 0}


def test_a_job_is_listed_with_its_input(sandbox):
    job = sandbox.submitted(webhook="http://127.0.0.1:1/hook")
    sandbox.completed(job)

    (listed,) = sandbox.jobs()

    assert listed == {
        "request_id": job["request_id"],
        "model": sandbox.MODEL,
        "input": sandbox.VIDEO,
        "status": "COMPLETED",
        "webhook_url": "http://127.0.0.1:1/hook",
        "submitted_at": listed["submitted_at"],
    }


def test_a_reset_forgets_everything(sandbox, receiver):
    sandbox.fal(outcome="submit_500", queue_seconds=9)
    sandbox.fal(outcome="hang", model="fal-ai/veo3.1")
    sandbox.control("apple/outage", service="devicecheck")
    receiver.answers = [500] * 9
    sandbox.submit(model="fal-ai/veo3.1", webhook=receiver.url)

    sandbox.control("reset")

    assert sandbox.requests() == sandbox.jobs() == []
    assert sandbox.http.post("/apple/devicecheck/v1/query_two_bits").status_code == 401
    assert sandbox.fal() == {
        "provider": "fal",
        "model": None,
        "outcome": "ok",
        "times": None,
        "queue_seconds": 0.5,
        "run_seconds": 1.5,
        "progress_logs": True,
        "webhooks": True,
        "cancel_running": False,
    }
    assert sandbox.submit(model="fal-ai/veo3.1").status_code == 200


@pytest.mark.parametrize(
    ("control", "body", "named"),
    [
        ("provider", {}, "provider"),
        ("provider", {"provider": "pika"}, "pika"),
        ("provider", {"provider": "fal", "outcom": "ok"}, "outcom"),
        ("provider", {"provider": "fal", "outcome": "fine"}, "fine"),
        ("provider", {"provider": "fal", "queue_seconds": -1}, "queue_seconds"),
        ("provider", {"provider": "fal", "run_seconds": "1"}, "run_seconds"),
        ("provider", {"provider": "fal", "run_seconds": True}, "run_seconds"),
        ("provider", {"provider": "fal", "webhooks": 1}, "webhooks"),
        ("provider", {"provider": "fal", "outcome": "ok", "times": 0}, "times"),
        ("provider", {"provider": "fal", "times": 1}, "times"),
        ("provider", {"provider": "fal", "model": ""}, "model"),
        ("reset", {"all": True}, "all"),
        ("apple/device", {"bit0": True}, "device_token"),
        ("apple/device", {"device_token": "sandbox-1"}, "bit0"),
        ("apple/device", {"device_token": "sandbox-1", "bit0": 1}, "bit0"),
        ("apple/device", {"device_token": "sandbox-1", "bit2": True}, "bit2"),
        ("apple/identity", {}, "sub"),
        ("apple/identity", {"sub": "s", "nonse": "n"}, "nonse"),
        ("apple/identity", {"sub": "s", "email_verified": "yes"}, "email_verified"),
        ("apple/identity", {"sub": "s", "algorithm": "RS512"}, "RS512"),
        ("apple/identity", {"sub": "s", "kid": "K", "algorithm": "none"}, "kid"),
        ("apple/identity", {"sub": "s", "expires_in": 86401}, "expires_in"),
        ("apple/identity", {"sub": "s", "code_expires_in": -1}, "code_expires_in"),
        ("apple/rotate-keys", {"drop": 1}, "drop"),
        ("apple/identity-notice", {"sub": "s"}, "type"),
        ("apple/identity-notice", {"sub": "s", "type": "fled"}, "fled"),
        ("apple/identity-notice", {"sub": "s", "type": "email-disabled"}, "email"),
        ("apple/identity-notice", {"sub": "s", "type": "account-delete", "email": "e"}, "email"),
        ("apple/identity-notice", {"sub": "s", "type": "account-delete", "url": "/x"}, "url"),
        ("apple/outage", {"service": "weather"}, "weather"),
        ("apple/outage", {"service": "devicecheck", "status": 200}, "status"),
        ("apple/outage", {"service": "devicecheck", "status": 500, "times": 0}, "times"),
    ],
)
def test_an_unknown_control_field_is_refused_by_name(sandbox, control, body, named):
    refused = sandbox.http.post(f"/control/{control}", json=body)

    assert refused.status_code == 400
    assert named in refused.json()["error"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"1", b"\xff"])
def test_a_control_must_be_a_json_object(sandbox, content):
    refused = sandbox.http.post("/control/provider", content=content)

    assert refused.status_code == 400
    assert "JSON" in refused.json()["error"]


@pytest.mark.parametrize("query", ["provider=pika", "providr=fal"])
def test_a_list_with_an_unknown_filter_is_refused(sandbox, query):
    for listing in ("requests", "jobs"):
        assert sandbox.http.get(f"/control/{listing}?{query}").status_code == 400


def test_the_sandbox_prints_one_line_when_it_listens(own_process):
    process, sandbox, line = own_process
    sandbox.submitted()
    sandbox.get("/nowhere")

    process.send_signal(signal.SIGTERM)
    process.wait(timeout=5)
    output, errors = process.communicate()

    assert line == f"sandbox listens on {sandbox.url}\n"
    assert (output, errors, process.returncode) == ("", "", 0)


def test_a_port_in_use_is_reported_in_one_line(sandbox):
    port = sandbox.url.rsplit(":", 1)[1]

    second = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "sandbox", "--port", port],
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert second.returncode == 1
    assert second.stdout == ""
    (line,) = second.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
