"""fal's webhooks and their Ed25519 signature."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import Studio
from sandbox.fake_provider.webhooks import Webhooks
from sandbox.fal.results import answer_of

USER_ID = "sandbox-user"


class FalWebhooks(Webhooks):
    def __init__(self, studio: Studio) -> None:
        super().__init__()
        self._studio = studio
        # Survives a reset: apps keep the key set for a day, as fal allows them to.
        self._key = Ed25519PrivateKey.generate()
        self._stranger = Ed25519PrivateKey.generate()

    def routes(self) -> list[Route]:
        return [Route("/fal/jwks.json", self.jwks, methods=["GET"])]

    async def jwks(self, _: Request) -> JSONResponse:
        public = self._key.public_key().public_bytes_raw()
        x = urlsafe_b64encode(public).rstrip(b"=").decode()
        return JSONResponse({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})

    async def body(self, job: Job) -> bytes:
        answer = await answer_of(job, self._studio)
        body = {
            "request_id": job.request_id,
            "gateway_request_id": job.gateway_request_id,
            "status": "OK" if answer.is_ok else "ERROR",
            "payload": answer.body,
        }
        if not answer.is_ok:
            body["error"] = f"Invalid status code: {answer.status}"
        return json.dumps(body, ensure_ascii=False).encode()

    def headers(self, job: Job, body: bytes, *, timestamp: int, is_forged: bool) -> dict[str, str]:
        message = "\n".join((job.request_id, USER_ID, str(timestamp), sha256(body).hexdigest()))
        key = self._stranger if is_forged else self._key
        return {
            "X-Fal-Webhook-Request-Id": job.request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": str(timestamp),
            "X-Fal-Webhook-Signature": key.sign(message.encode()).hex(),
        }
