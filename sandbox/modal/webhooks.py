"""The app's webhooks: the call as it can be read."""

import json

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.webhooks import UnsignedWebhooks
from sandbox.modal.call_json import call_json


class ModalWebhooks(UnsignedWebhooks):
    async def body(self, job: Job) -> bytes:
        return json.dumps(call_json(job)).encode()
