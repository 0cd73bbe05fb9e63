"""Replicate's webhooks: Standard Webhooks, HMAC-SHA256 over id, time and body."""

import base64
import hmac
import json

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.webhooks import Webhooks
from sandbox.replicate.job_json import is_training, prediction_json, training_json

SECRET = "whsec_" + base64.b64encode(b"the sandbox's own webhook secret").decode()
WRONG_SECRET = b"somebody else's webhook secret...."


class ReplicateWebhooks(Webhooks):
    def __init__(self, renderer: MediaRenderer) -> None:
        super().__init__()
        self._renderer = renderer

    async def body(self, job: Job) -> bytes:
        body = (
            await training_json(job, self._renderer) if is_training(job) else prediction_json(job)
        )
        return json.dumps(body).encode()

    def headers(self, job: Job, body: bytes, *, timestamp: int, is_forged: bool) -> dict[str, str]:
        name = f"msg_{job.gateway_request_id.replace('-', '')}"
        key = WRONG_SECRET if is_forged else base64.b64decode(SECRET.removeprefix("whsec_"))
        digest = hmac.digest(key, f"{name}.{timestamp}.".encode() + body, "sha256")
        return {
            "Webhook-Id": name,
            "Webhook-Timestamp": str(timestamp),
            "Webhook-Signature": f"v1,{base64.b64encode(digest).decode()}",
        }
