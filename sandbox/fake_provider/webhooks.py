"""Delivery of webhooks when jobs end, signed as the provider signs them.

At least once: a response other than 2xx is retried with growing delays, a redirect is not.
Undelivered webhooks are lost when the sandbox stops or is reset.
"""

import asyncio
import time
from abc import ABC, abstractmethod

import httpx

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.outcomes import Outcome

TIMEOUT_SECONDS = 15.0
RETRY_DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""The providers' own delays are up to an hour, which is too long for tests."""

LATE_SECONDS = 5.0
STALE_SECONDS = 3600
DUPLICATES = 3


class Webhooks(ABC):
    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def body(self, job: Job) -> bytes: ...

    @abstractmethod
    def headers(self, job: Job, body: bytes, *, timestamp: int, is_forged: bool) -> dict[str, str]:
        """Return the headers with the signature. A forged signature uses another key."""

    def address(self, url: str, *, is_forged: bool) -> str:
        """Return the address to call. A provider that signs nothing forges this instead."""
        return url

    def reset(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        self.reset()
        await self._client.aclose()

    def schedule(self, job: Job) -> None:
        """Schedule the delivery for the job's end, if the job has a webhook and its scenario allows
        one."""
        is_disabled = (
            job.scenario.outcome is Outcome.WEBHOOK_LOST or not job.scenario.timing.webhooks
        )
        if job.webhook_url is None or is_disabled:
            return
        task = asyncio.create_task(self._deliver(job, job.webhook_url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, job: Job, url: str) -> None:
        await job.wait_until_ended()
        if job.scenario.outcome is Outcome.WEBHOOK_LATE:
            await asyncio.sleep(LATE_SECONDS)
        body = await self.body(job)
        for _ in range(DUPLICATES if job.scenario.outcome is Outcome.WEBHOOK_DUPLICATE else 1):
            await self._deliver_once(job, url, body)

    async def _deliver_once(self, job: Job, url: str, body: bytes) -> None:
        for delay in (*RETRY_DELAYS_SECONDS, None):
            try:
                response = await self._client.post(
                    self.address(url, is_forged=_is_forged(job)),
                    content=body,
                    headers=self._signed_headers(job, body),
                )
            except (httpx.HTTPError, httpx.InvalidURL):
                is_final = False
            else:
                is_final = response.is_success or response.is_redirect
            if is_final or delay is None:
                return
            await asyncio.sleep(delay)

    def _signed_headers(self, job: Job, body: bytes) -> dict[str, str]:
        now = int(time.time())
        is_stale = job.scenario.outcome is Outcome.WEBHOOK_STALE_TIMESTAMP
        return {"Content-Type": "application/json"} | self.headers(
            job,
            body,
            timestamp=now - STALE_SECONDS if is_stale else now,
            is_forged=_is_forged(job),
        )


class UnsignedWebhooks(Webhooks):
    """Webhooks without a signature. A forgery lacks the token of the submission."""

    def headers(self, job: Job, body: bytes, *, timestamp: int, is_forged: bool) -> dict[str, str]:
        return {}

    def address(self, url: str, *, is_forged: bool) -> str:
        return str(httpx.URL(url).copy_set_param("token", "forged")) if is_forged else url


def _is_forged(job: Job) -> bool:
    return job.scenario.outcome is Outcome.WEBHOOK_BAD_SIGNATURE
