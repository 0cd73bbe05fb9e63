"""RunPod's webhooks: the job as its status has it."""

import json

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.webhooks import UnsignedWebhooks
from sandbox.runpod.job_json import job_json


class RunpodWebhooks(UnsignedWebhooks):
    async def body(self, job: Job) -> bytes:
        return json.dumps(job_json(job)).encode()
