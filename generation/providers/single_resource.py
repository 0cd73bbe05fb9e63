"""Providers that answer every question with the same object: what was ordered, as it stands.

Submitting it, looking at it and fetching its result then differ by little; what differs is left to
the provider's own module.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    LONGEST_RAW,
    RATE_LIMITED,
    Accepted,
    Done,
    Failed,
    Handle,
    Kind,
    Later,
    Media,
    Provider,
    Reason,
    Refused,
    Running,
    State,
    Submission,
    Timeout,
    Unknown,
)
from generation.providers.parsing import as_object, as_text, request_id_in, retry_after, words
from rendio.common import http

Object = dict[str, Any]


class OneObjectProvider(Provider):
    @abstractmethod
    def _progress(self, seen: Object) -> int | None:
        """Percent, of one that runs; None where it does not say."""

    @abstractmethod
    def _end(self, seen: Object, kind: Kind) -> Media | Failed:
        """Of one that is Done."""

    @abstractmethod
    def _complaint(self, said: Object) -> str:
        """What an answer that is no such object says of its reason, in words."""

    def _own_refusal(self, answer: http.Answer, said: Object) -> Submission | None:
        """What a refusal means that the status does not tell here, or tells otherwise."""

    def _price(self, said: Object) -> Decimal | None:
        """What it will take, where the acceptance says so."""

    def _order(self, path: str, json: Object, *, model_id: str, key_label: str) -> Submission:
        """Submit: its id is `id`."""
        answer = self._send(f"{self._access.url}{path}", key_label, json=json)
        if isinstance(answer, Later | Unknown):
            return answer
        said = as_object(answer.json())
        if not answer.ok:
            return self._own_refusal(answer, said) or self._refusal(answer, said)
        if not (request_id := request_id_in(said.get("id"))):
            return Unknown("accepted without an id")
        handle = self.handle_for(model_id=model_id, request_id=request_id, key_label=key_label)
        return Accepted(handle, cost_usd=self._price(said))

    def _refusal(self, answer: http.Answer, said: Object) -> Submission:
        detail = words(self._complaint(said), longest=500)
        match answer.status:
            case 429:
                return Later(retry_after(answer), RATE_LIMITED, detail)
            case 401 | 402 | 403:
                return Later(ACCOUNT_RETRY_SECONDS, "account", detail)
            case 404 | 405:
                return Refused(Reason.PROVIDER_ERROR, "no_such_model", detail)
            case 400 | 413 | 422:
                return Refused(Reason.REJECTED, "invalid_input", detail)
            case status:
                return Unknown(f"status {status}")

    def _stage(self, seen: Object) -> Running | Done | Unknown:
        match self._state(seen):
            case State.WAITING:
                return Running(began=False)
            case State.RUNNING:
                return Running(began=True, progress=self._progress(seen))
            case State.ENDED:
                return Done()
            case unknown:
                return unknown

    def status(self, handle: Handle, *, timeout: Timeout | None = None) -> Running | Done | Unknown:
        seen = self._look(handle.status_url, handle.key_label, timeout=timeout)
        return seen if isinstance(seen, Unknown) else self._stage(seen)

    def result(
        self, handle: Handle, *, kind: Kind = "video", timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        seen = self._look(handle.response_url, handle.key_label, timeout=timeout)
        return seen if isinstance(seen, Unknown) else self._read(seen, kind)

    def read_result(self, said: Mapping[str, Any], *, kind: Kind) -> Media | Failed | Unknown:
        found = self._read(dict(said), kind)
        return Unknown("kept before its end") if isinstance(found, Running) else found

    def _read(self, seen: Object, kind: Kind) -> Media | Failed | Running | Unknown:
        stage = self._stage(seen)
        if not isinstance(stage, Done):
            return stage
        return replace(self._end(seen, kind), raw=as_text(seen, longest=LONGEST_RAW))
