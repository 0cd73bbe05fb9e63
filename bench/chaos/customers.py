"""Guests who order videos throughout the storm.

Each order has one idempotency key and is sent until it is answered: it must become one job. Some
guests cancel a job.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

from rendio.local.phone import ApiError, Phone

AGAIN_SECONDS = 0.3
CANCELLED_SHARE = 0.1


@dataclass(frozen=True)
class Order:
    prompt: str
    # None where nobody confirmed it before the guests had to give up.
    job_id: UUID | None


class Guest:
    def __init__(self, public_url: str) -> None:
        self._phone = Phone(public_url)
        self.user_id = UUID(self._phone.sign_in()["user_id"])
        models = self._phone.get("get-models")["models"]
        # By all providers; those that start from an image would need one.
        self._models = [model["id"] for model in models if model["required_fields"] == ["prompt"]]

    def shop(
        self, *, orders: int, over_seconds: float, chance: random.Random, closed: threading.Event
    ) -> list[Order]:
        """Place the orders, with pauses that add up to about `over_seconds`."""
        made = []
        for number in range(orders):
            closed.wait(chance.uniform(0, 2 * over_seconds / orders))
            made.append(self._order(f"Video {number} of {self.user_id}", chance, closed))
        return made

    def _order(self, prompt: str, chance: random.Random, closed: threading.Event) -> Order:
        key = str(uuid4())
        order = {"prompt": prompt, "model_id": chance.choice(self._models)}
        while not closed.is_set():
            with suppress(ApiError):
                answer = self._phone.post("generate-video", order, idempotency_key=key)
                if chance.random() < CANCELLED_SHARE:
                    self._take_back(answer["job_id"])
                return Order(prompt, UUID(answer["job_id"]))
            closed.wait(AGAIN_SECONDS)
        return Order(prompt, None)

    def _take_back(self, job_id: str) -> None:
        """Cancel once. It may be too late, or the storm may lose it: the job ends anyway."""
        with suppress(ApiError):
            self._phone.post("cancel-video-job", {"job_id": job_id})


class Crowd:
    """All guests, each with a phone."""

    def __init__(self, *, public_url: str, guests: int) -> None:
        self.guests = [Guest(public_url) for _ in range(guests)]
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=guests)
        self._shopping: list[Future[list[Order]]] = []

    def start(self, *, jobs: int, over_seconds: float, seed: int) -> None:
        """`jobs` orders in all, divided among the guests."""
        for number, guest in enumerate(self.guests):
            share = len(range(number, jobs, len(self.guests)))
            self._shopping.append(
                self._pool.submit(
                    guest.shop,
                    orders=share,
                    over_seconds=over_seconds,
                    chance=random.Random(seed * 1000 + number),  # noqa: S311
                    closed=self._closed,
                )
            )

    @property
    def is_served(self) -> bool:
        """Whether every order has been confirmed."""
        return all(one.done() for one in self._shopping)

    def orders(self) -> list[Order]:
        """Every order; unconfirmed ones are given up."""
        self._closed.set()
        return [order for one in self._shopping for order in one.result()]

    def close(self) -> None:
        self._closed.set()
        self._pool.shutdown()
