"""Tells a job's webhook how it ended, signed as fal signs.

At least once: an answer other than 2xx is tried again with a growing pause, a redirect never. What
was not delivered when the sandbox stops or is reset is lost.
"""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from hashlib import sha256

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.fal.jobs import Job
from sandbox.fal.media import Studio
from sandbox.fal.outcomes import Outcome
from sandbox.fal.results import answer_of

USER_ID = "sandbox-user"
ATTEMPT_SECONDS = 15.0
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""fal's own are up to an hour; whoever tests has less patience."""

LATE_SECONDS = 5.0
STALE_SECONDS = 3600
DUPLICATES = 3


class Webhooks:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        # Survives a reset: apps keep the key set for a day, as fal allows them to.
        self._key = Ed25519PrivateKey.generate()
        self._stranger = Ed25519PrivateKey.generate()
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=ATTEMPT_SECONDS
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [Route("/fal/jwks.json", self.jwks, methods=["GET"])]

    def reset(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        self.reset()
        await self._client.aclose()

    async def jwks(self, _: Request) -> JSONResponse:
        public = self._key.public_key().public_bytes_raw()
        x = urlsafe_b64encode(public).rstrip(b"=").decode()
        return JSONResponse({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})

    def follow(self, job: Job) -> None:
        """Deliver when the job has ended, if it asked for that and its plan allows it."""
        silent = job.plan.outcome is Outcome.WEBHOOK_LOST or not job.plan.pace.webhooks
        if job.webhook_url is None or silent:
            return
        task = asyncio.create_task(self._deliver(job, job.webhook_url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, job: Job, url: str) -> None:
        await job.until_ended()
        if job.plan.outcome is Outcome.WEBHOOK_LATE:
            await asyncio.sleep(LATE_SECONDS)
        body = await self._body(job)
        for _ in range(DUPLICATES if job.plan.outcome is Outcome.WEBHOOK_DUPLICATE else 1):
            await self._deliver_once(job, url, body)

    async def _body(self, job: Job) -> bytes:
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

    async def _deliver_once(self, job: Job, url: str, body: bytes) -> None:
        for pause in (*PAUSES_SECONDS, None):
            try:
                response = await self._client.post(
                    url, content=body, headers=self._headers(job, body)
                )
            except (httpx.HTTPError, httpx.InvalidURL):
                is_settled = False
            else:
                is_settled = response.is_success or response.is_redirect
            if is_settled or pause is None:
                return
            await asyncio.sleep(pause)

    def _headers(self, job: Job, body: bytes) -> dict[str, str]:
        now = int(time.time())
        is_stale = job.plan.outcome is Outcome.WEBHOOK_STALE_TIMESTAMP
        timestamp = str(now - STALE_SECONDS if is_stale else now)
        message = "\n".join((job.request_id, USER_ID, timestamp, sha256(body).hexdigest()))
        is_forged = job.plan.outcome is Outcome.WEBHOOK_BAD_SIGNATURE
        key = self._stranger if is_forged else self._key
        return {
            "Content-Type": "application/json",
            "X-Fal-Webhook-Request-Id": job.request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": key.sign(message.encode()).hex(),
        }
