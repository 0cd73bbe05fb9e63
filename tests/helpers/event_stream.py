"""A client of event streams, as an app writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import requests

from tests.helpers.phone import Phone
from tests.helpers.wait import PATIENCE_SECONDS


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: dict[str, Any]

    @property
    def state(self) -> tuple[Any, ...]:
        """What a change of is news: of a job its status and progress, of a balance the credits."""
        if self.name == "balance":
            return ("balance", self.data["credits_remaining"])
        names = ("job_id", "status", "progress", "queue_position", "refunded")
        return tuple(self.data[name] for name in names)


class EventStream:
    """One response. Iterate over its events; the iteration ends when the server closes."""

    def __init__(
        self, url: str, phone: Phone, path: str = "events", *, last_id: str = "", **headers: str
    ) -> None:
        named = phone._headers() | headers | ({"Last-Event-ID": last_id} if last_id else {})
        self.answer = requests.get(
            f"{url}/v1/{path}", headers=named, stream=True, timeout=PATIENCE_SECONDS
        )
        self.last_id = last_id
        self.retry_ms: int | None = None
        self._events = self._read()

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.answer.close()

    def until(self, name: str, **data: Any) -> Event:
        """The next event with this name and these values."""
        for event in self:
            if event.name == name and data.items() <= event.data.items():
                return event
        raise AssertionError(f"the stream ended before {name} with {data}")

    def _read(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        # A server that is killed breaks the connection.
        with suppress(requests.RequestException):
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if retry := fields.pop("retry", None):
                    self.retry_ms = int(retry)
                if fields:
                    self.last_id = fields["id"]
                    yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
                fields = {}
