"""fal's webhooks and their Ed25519 signature."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.webhooks import Webhooks
from sandbox.fal.results import result_response

USER_ID = "sandbox-user"


class FalWebhooks(Webhooks):
    def __init__(self, renderer: MediaRenderer) -> None:
        super().__init__()
        self._renderer = renderer
        # The key survives a reset: apps cache the key set for a day, as fal allows.
        self._key = Ed25519PrivateKey.generate()
        self._wrong_key = Ed25519PrivateKey.generate()

    def routes(self) -> list[Route]:
        return [Route("/fal/jwks.json", self.jwks, methods=["GET"])]

    async def jwks(self, _: Request) -> JSONResponse:
        public = self._key.public_key().public_bytes_raw()
        x = urlsafe_b64encode(public).rstrip(b"=").decode()
        return JSONResponse({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})

    async def body(self, job: Job) -> bytes:
        response = await result_response(job, self._renderer)
        body = {
            "request_id": job.request_id,
            "gateway_request_id": job.gateway_request_id,
            "status": "OK" if response.is_ok else "ERROR",
            "payload": response.body,
        }
        if not response.is_ok:
            body["error"] = f"Invalid status code: {response.status}"
        return json.dumps(body, ensure_ascii=False).encode()

    def headers(self, job: Job, body: bytes, *, timestamp: int, is_forged: bool) -> dict[str, str]:
        message = "\n".join((job.request_id, USER_ID, str(timestamp), sha256(body).hexdigest()))
        key = self._wrong_key if is_forged else self._key
        return {
            "X-Fal-Webhook-Request-Id": job.request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": str(timestamp),
            "X-Fal-Webhook-Signature": key.sign(message.encode()).hex(),
        }
