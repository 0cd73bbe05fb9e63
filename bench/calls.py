"""The rows of single calls: requests of phones and of a provider to the web processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.load import Plan, Result, drive
from bench.rows import Row

if TYPE_CHECKING:
    from bench.world import World

OPEN_LOOP_RATE = 300


@dataclass
class Calls:
    """The rows of calls to the server on `port`, over `connections` that are kept open."""

    world: World
    url: str
    port: int
    connections: int
    _signed: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        world = self.world
        generate = world.generate_video()
        return [
            self._row("generate-video", generate),
            self._row("generate-video, quote and image", world.generate_with_quote_and_image()),
            self._row("generate-video, replay", world.repeat_generate_video()),
            self._row(f"generate-video, {OPEN_LOOP_RATE}/s", generate, rate=OPEN_LOOP_RATE),
            self._row("quote-video", world.quote_video()),
            self._row("get-video-status, running", world.get_running_status()),
            self._row("get-video-status, finished", world.get_finished_status()),
            self._row("get-video-jobs, 20", world.get_jobs()),
            self._row("get-user-credits", world.get_credits()),
            self._row("get-credit-history, 20", world.get_history()),
            self._row("get-models", world.get_models()),
            self._row("device-check", world.check_devices(self.url)),
            Row("webhook", self._driver(self._signed), prepare=self._sign),
        ]

    def _row(self, name: str, requests: list[str], *, rate: float = 0) -> Row:
        return Row(name, self._driver(requests, rate=rate))

    def _driver(self, requests: list[str], *, rate: float = 0) -> Callable[[float], Result]:
        """`requests` are read when a round begins."""
        return lambda seconds: drive(
            Plan(self.port, self.connections, seconds, requests, rate=rate)
        )

    def _sign(self) -> None:
        self._signed[:] = self.world.webhooks()
