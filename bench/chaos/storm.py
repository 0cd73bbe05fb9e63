"""The storm: processes and servers are killed, Valkey is emptied, providers fail.

The seed determines the sequence of blows; their exact targets also depend on the machine.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import redis

from rendio.local.phone import control_sandbox
from rendio.local.servers import PostgreSQL, Valkey
from rendio.local.stack import Stack

PROVIDERS = ("fal", "runway", "replicate", "runpod", "modal")
PROCESSES = ("web", "worker", "beat")
LONGEST_DOWN_SECONDS = 1.5
# The provider's outcome for the next submissions.
TROUBLES = (
    *["error", "aborted", "content_policy", "invalid_input", "hang"],
    *["submit_403_balance", "submit_500", "submit_503", "submit_429"],
    *["submit_timeout", "submit_lost"],
    *["status_500", "status_unknown", "result_500", "result_404", "result_late"],
    *["media_404", "media_truncated", "media_not_video"],
    *["webhook_lost", "webhook_duplicate", "webhook_bad_signature", "webhook_stale_timestamp"],
)


@dataclass
class Blow:
    what: str
    struck_at: float
    # Until everything worked again; later blows prolong it. None while it does not.
    seconds: float | None = None


class Storm:
    """Strikes and restarts; the caller decides when."""

    def __init__(
        self, *, stack: Stack, database: PostgreSQL, valkey: Valkey, sandbox_url: str, seed: int
    ) -> None:
        self._stack = stack
        self._servers: dict[str, PostgreSQL | Valkey] = {"PostgreSQL": database, "Valkey": valkey}
        self._valkey_url = valkey.url
        self._sandbox_url = sandbox_url
        self._chance = random.Random(seed)  # noqa: S311
        self._revival: dict[str, float] = {}
        self.blows: list[Blow] = []
        self.troubles: Counter[str] = Counter()

    def strike(self) -> None:
        what = self._chance.choice([*PROCESSES, *self._servers, "FLUSHALL"])
        if what in PROCESSES:
            self._stack.kill(what)
        elif what == "FLUSHALL":
            with suppress(redis.RedisError), redis.Redis.from_url(self._valkey_url) as connection:
                connection.flushall()
        elif child := self._servers[what].child:
            child.kill()
        name = what if what == "FLUSHALL" else f"kill -9 {what}"
        self.blows.append(Blow(name, time.monotonic()))

    def trouble_a_provider(self) -> None:
        """Choose how a provider fails from now on; every other time it does not."""
        outcome = self._chance.choice(["ok", self._chance.choice(TROUBLES)])
        self.troubles[outcome] += 1
        self._plan(self._chance.choice(PROVIDERS), outcome)

    def leave_the_providers(self) -> None:
        for provider in PROVIDERS:
            self._plan(provider, "ok")

    def revive(self) -> bool:
        """Restart, as a supervisor does, what has been down long enough. Returns whether everything
        was up."""
        down = [name for name in PROCESSES if not self._stack.children[name].running]
        down += [name for name, server in self._servers.items() if not server.running]
        now = time.monotonic()
        for name in down:
            pause = self._chance.uniform(0.1, LONGEST_DOWN_SECONDS)
            if now >= self._revival.setdefault(name, now + pause):
                del self._revival[name]
                if name in self._servers:
                    self._servers[name].launch()
                else:
                    self._stack.start(name)
        return not down

    def recovered(self) -> None:
        """Everything works now."""
        now = time.monotonic()
        for blow in self.blows:
            if blow.seconds is None:
                blow.seconds = now - blow.struck_at

    def _plan(self, provider: str, outcome: str) -> None:
        control_sandbox(
            self._sandbox_url,
            provider=provider,
            outcome=outcome,
            queue_seconds=self._chance.uniform(0, 0.5),
            run_seconds=self._chance.uniform(0.2, 2),
        )
