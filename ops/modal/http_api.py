"""The HTTP API of our app on Modal, which has none of its own for jobs.

- `POST /submit` `{"model", "input", "webhook"}`: 200 `{"id"}`. A repeated `webhook` starts nothing
  and has the same answer. 404 for an unknown model, 422 for any other body.
- `GET /result/{id}`: 200 with the call if it has ended, else 202 with the call. 404 if it is
  unknown, or ended more than seven days ago.
- `POST /cancel/{id}`: the same, after the cancellation. An ended call stays as it is.

A call is `{"id", "status"}`. `status` is `queued`, `running` (with `progress` in percent),
`succeeded` (with `output`), `failed` (with `error`, a text) or `cancelled`; `execution_ms` is how
long the GPU worked. When a call has ended, the app posts it to `webhook`. Errors are `{"error"}`.

Modal checks the credentials (`Modal-Key` and `Modal-Secret`) before a request comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Call = dict[str, Any]
NOT_AN_ORDER = "model, input and webhook: a text, an object and an address"


class SpawnedCall(Protocol):
    """modal.FunctionCall."""

    object_id: str

    def get(self, timeout: float) -> Any: ...

    def cancel(self) -> None: ...


class Store(Protocol):
    """modal.Dict."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def put(self, key: str, value: Any, *, skip_if_exists: bool = False) -> bool:
        """Returns whether the value was stored."""


class Calls:
    def __init__(
        self,
        *,
        models: Mapping[str, Callable[[dict[str, Any], str], SpawnedCall]],
        find_call: Callable[[str], SpawnedCall],
        store: Store,
        unknown_call_errors: Sequence[type[Exception]],
        send: Callable[[str, Call], None],
    ) -> None:
        """`models` start a call with an input and a webhook; `send` posts a call to a webhook."""
        self._models = models
        self._find_call = find_call
        self._store = store
        self._unknown_call_errors = tuple(unknown_call_errors)
        self._send = send

    def submit(self, model: str, arguments: dict[str, Any], webhook: str) -> str | None:
        """Return the id of the call. None for an unknown model."""
        if model not in self._models:
            return None
        # Modal may repeat a request of which it does not know whether it was answered.
        key = f"webhook {sha256(webhook.encode()).hexdigest()}"
        if earlier := self._store.get(key):
            return str(earlier)
        call = self._models[model](arguments, webhook)
        if self._store.put(key, call.object_id, skip_if_exists=True):
            self._store.put(webhook_key(call.object_id), webhook)
            return call.object_id
        call.cancel()
        return str(self._store.get(key))

    def find(self, call_id: str) -> Call | None:
        """Return the call. None if it is unknown, or no longer kept."""
        if ended := self._store.get(ended_key(call_id)):
            return dict(ended)
        try:
            self._find_call(call_id).get(timeout=0)
        except TimeoutError:
            progress = self._store.get(progress_key(call_id))
            if progress is None:
                return {"id": call_id, "status": "queued"}
            return {"id": call_id, "status": "running", "progress": progress}
        except self._unknown_call_errors:
            return None
        except Exception as error:
            # The worker was stopped: for its time, its memory, or by Modal.
            text = f"{type(error).__name__}: {error}"
            return {"id": call_id, "status": "failed", "error": text}
        # It ended between the two reads, or so long ago that the store has forgotten it.
        ended = self._store.get(ended_key(call_id))
        return dict(ended) if ended else None

    def cancel(self, call_id: str) -> Call | None:
        call = self.find(call_id)
        if call is None or is_ended(call):
            return call
        call = {"id": call_id, "status": "cancelled"}
        if not self._store.put(ended_key(call_id), call, skip_if_exists=True):
            return self.find(call_id)
        self._find_call(call_id).cancel()
        if webhook := self._store.get(webhook_key(call_id)):
            self._send(webhook, call)
        return call


def progress_key(call_id: str) -> str:
    return f"progress {call_id}"


def ended_key(call_id: str) -> str:
    """The key of the call that has ended. Its first value stays."""
    return f"ended {call_id}"


def webhook_key(call_id: str) -> str:
    return f"address {call_id}"


def is_ended(call: Call) -> bool:
    return call["status"] not in {"queued", "running"}


def ended_call(call_id: str, result: dict[str, Any], *, execution_ms: int) -> Call:
    """Make a call of what the worker returned."""
    time = {"execution_ms": execution_ms}
    if "error" in result:
        return {"id": call_id, "status": "failed", "error": result["error"], **time}
    return {"id": call_id, "status": "succeeded", "output": result, **time}


def create_app(calls: Calls) -> Starlette:
    async def submit(request: Request) -> Response:
        try:
            body = await request.json()
            model, arguments, webhook = body["model"], body["input"], body["webhook"]
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": NOT_AN_ORDER}, 422)
        if not (
            isinstance(model, str) and isinstance(arguments, dict) and isinstance(webhook, str)
        ):
            return JSONResponse({"error": NOT_AN_ORDER}, 422)
        call_id = await run_in_threadpool(calls.submit, model, arguments, webhook)
        if call_id is None:
            return JSONResponse({"error": "no such model"}, 404)
        return JSONResponse({"id": call_id})

    async def result(request: Request) -> Response:
        return _answer(await run_in_threadpool(calls.find, request.path_params["call_id"]))

    async def cancel(request: Request) -> Response:
        return _answer(await run_in_threadpool(calls.cancel, request.path_params["call_id"]))

    return Starlette(
        routes=[
            Route("/submit", submit, methods=["POST"]),
            Route("/result/{call_id}", result, methods=["GET"]),
            Route("/cancel/{call_id}", cancel, methods=["POST"]),
        ]
    )


def _answer(call: Call | None) -> Response:
    if call is None:
        return JSONResponse({"error": "no such call"}, 404)
    return JSONResponse(call, 200 if is_ended(call) else 202)
