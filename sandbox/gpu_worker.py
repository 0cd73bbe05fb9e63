"""Our own workers on rented GPUs, which RunPod and Modal run: their output and their errors."""

import json
from typing import Any

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.outcomes import Outcome

INVALID_INPUT = "invalid_input: duration must be 5"
ERRORS = {
    Outcome.CONTENT_POLICY: "content_policy_violation: the prompt asks for what we do not make",
    Outcome.INVALID_INPUT: INVALID_INPUT,
}
# What RunPod's worker makes of an exception (runpod 1.12.0, serverless/modules/rp_job.py).
EXCEPTION = json.dumps(
    {
        "error_type": "<class 'torch.OutOfMemoryError'>",
        "error_message": "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "error_traceback": "Traceback (most recent call last): …",
        "hostname": "4bg7x1k2-64411f3a",
        "worker_id": "4bg7x1k2",
        "runpod_version": "1.12.0",
    }
)


def output(job: Job) -> dict[str, Any]:
    is_odd = job.scenario.outcome is Outcome.RESULT_ODD
    return {"film": job.file_url()} if is_odd else {"files": [job.file_url()]}


def execution_ms(job: Job) -> int:
    return round(job.inference_seconds * 1000)


def progress_percent(job: Job) -> int:
    return int(job.progress * 100)
