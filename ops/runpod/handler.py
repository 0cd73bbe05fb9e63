"""Our worker behind a RunPod endpoint. docs/gpus.md says how to deploy it.

The job's input and result are those of ops/gpu/worker.py.
"""

from __future__ import annotations

from typing import Any

import runpod
import worker
from wan import Wan

model = Wan()


def handler(job: dict[str, Any]) -> dict[str, Any]:
    return worker.run(
        job["input"],
        name=job["id"],
        model=model,
        report=lambda percent: runpod.serverless.progress_update(job, {"progress": percent}),
        upload=worker.upload_to_bucket,
    )


runpod.serverless.start({"handler": handler})
