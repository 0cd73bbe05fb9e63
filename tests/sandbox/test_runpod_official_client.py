"""RunPod's own client, unmodified, against the sandbox: only the address is another.

It has an environment of its own, which `.ci/clients` makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.budget import large

PYTHON = Path(sys.prefix) / "runpod" / "bin" / "python"
pytestmark = pytest.mark.skipif(
    not (PYTHON.parents[1] / "made").exists(),
    reason="RunPod's client is not here: .ci/clients installs it",
)
WALK = """
import json
import runpod
import requests

ORDER = {"prompt": "A cat on a windowsill", "aspect_ratio": "9:16"}

endpoint = runpod.Endpoint("4bg7x1k2", api_key="key-of-a-tester")
job = endpoint.run(ORDER)
story = {"output": job.output(timeout=30), "status": job.status(), "id": job.job_id}
story["sync"] = endpoint.run_sync({"input": ORDER}, timeout=30)
story["health"] = endpoint.health()

slow = runpod.Endpoint("slow", api_key="key-of-a-tester")
waiting = slow.run(ORDER)
story["waiting"] = waiting.status()
story["cancel"] = waiting.cancel()
story["cancelled"] = waiting.status()
slow.run(ORDER)
story["purged"] = slow.purge_queue()

running = runpod.Endpoint("running", api_key="key-of-a-tester").run(ORDER)
story["running"] = [running.status(), running.output()]

failing = runpod.Endpoint("failing", api_key="key-of-a-tester").run(ORDER)
story["failed"] = [failing.output(timeout=30), failing.status()]

for name in ("broken", "empty"):
    try:
        runpod.Endpoint(name, api_key="key-of-a-tester").run(ORDER)
    except (RuntimeError, requests.HTTPError) as error:
        story[name] = type(error).__name__
print(json.dumps(story))
"""


@pytest.fixture
def story(sandbox, tmp_path):
    def go(model=None, **plan):
        only = {"model": model} if model else {}
        sandbox.control("provider", provider="runpod", **only, **plan)

    go(queue_seconds=0, run_seconds=0.05)
    go("slow", queue_seconds=600)
    go("running", run_seconds=600)
    go("failing", outcome="error")
    go("broken", outcome="submit_500")
    go("empty", outcome="submit_403_balance")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RUNPOD_ENDPOINT_BASE_URL": f"{sandbox.url}/runpod/v2",
    }
    done = subprocess.run(  # noqa: S603 (our own words)
        [PYTHON, "-c", WALK], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@large
def test_runpods_client_walks_through_everything(sandbox, story):
    for output in (story["output"], story["sync"]):
        (url,) = output["files"]
        assert sandbox.http.get(url).content[4:8] == b"ftyp"
    assert story["status"] == "COMPLETED"
    assert story["id"].endswith("-u1")
    assert story["health"]["jobs"]["completed"] == 2

    assert story["waiting"] == "IN_QUEUE"
    assert (story["cancel"]["status"], story["cancelled"]) == ("CANCELLED", "CANCELLED")
    assert story["purged"] == {"removed": 1, "status": "completed"}
    # While it runs, the output is the progress.
    status, output = story["running"]
    assert (status, list(output)) == ("IN_PROGRESS", ["progress"])
    assert story["failed"] == [None, "FAILED"]
    assert (story["broken"], story["empty"]) == ("HTTPError", "RuntimeError")
