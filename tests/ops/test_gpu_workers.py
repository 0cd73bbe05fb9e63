"""What we ship for rented GPUs (ops/gpu, ops/modal), without a GPU: the app's HTTP API, which the
sandbox must answer like, and the worker around the model."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from functools import partialmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

OPS = Path(__file__).resolve().parents[2] / "ops"
KEYS = {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}
INPUT = {"prompt": "A red balloon", "aspect_ratio": "9:16", "resolution": "720p"}
HOOK = "http://127.0.0.1:9/webhooks/modal?token=t"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"shipped_{Path(path).stem}", OPS / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


http_api, worker = load("modal/http_api.py"), load("gpu/worker.py")


class FakeStore(dict):
    """modal.Dict."""

    def put(self, key, value, *, skip_if_exists=False):
        if skip_if_exists and key in self:
            return False
        self[key] = value
        return True


class UnknownCall(Exception):
    pass


class FakeModal:
    """A function of Modal's and its calls, which end when the test says so."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.spawned: list[Any] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.calls = http_api.Calls(
            models={"wan-2.2": self.spawn},
            find_call=self.find_call,
            store=self.store,
            unknown_call_errors=(UnknownCall,),
            send=lambda webhook, call: self.sent.append((webhook, call)),
        )

    def spawn(self, arguments, webhook):
        self.spawned.append(FakeCall(f"fc-{len(self.spawned)}"))
        return self.spawned[-1]

    def find_call(self, call_id):
        found = [call for call in self.spawned if call.object_id == call_id]
        return found[0] if found else FakeCall(call_id, error=UnknownCall())

    def begin(self, percent=0):
        self.store.put(http_api.progress_key(self.spawned[-1].object_id), percent)

    def end(self, **result):
        call = self.spawned[-1]
        ended = http_api.ended_call(call.object_id, result, execution_ms=0)
        assert self.store.put(http_api.ended_key(call.object_id), ended, skip_if_exists=True)
        call.error = None


class FakeCall:
    def __init__(self, object_id, *, error=None):
        self.object_id = object_id
        self.error = error or TimeoutError()
        self.is_cancelled = False

    def get(self, timeout):
        assert timeout == 0
        if self.error:
            raise self.error

    def cancel(self):
        self.is_cancelled = True


class AppClient:
    """Calls an ASGI app in this process."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def request(self, method: str, path: str, json: Any = None) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                return await client.request(method, path, json=json)

        return asyncio.run(send())

    get, post = partialmethod(request, "GET"), partialmethod(request, "POST")


@pytest.fixture
def fake():
    return FakeModal()


@pytest.fixture
def shipped(fake):
    """The HTTP API as it is shipped."""
    return AppClient(http_api.create_app(fake.calls))


@pytest.fixture
def emulated(sandbox):
    sandbox.provider(provider="modal", queue_seconds=0, run_seconds=600, webhooks=False)
    with httpx.Client(base_url=f"{sandbox.url}/modal", headers=KEYS, trust_env=False) as client:
        yield client


def submit(client, **changes):
    order = {"model": "wan-2.2", "input": INPUT, "webhook": HOOK} | changes
    return client.post("/submit", json=order)


def shape(response) -> Any:
    """The status, and the body without what differs from call to call."""
    body = response.json()
    varying = ("id", "progress", "execution_ms", "output", "error")
    return response.status_code, {
        name: type(value).__name__ if name in varying else value for name, value in body.items()
    }


# --- The sandbox answers like the app -------------------------------------------------------------


def test_the_sandbox_answers_like_the_app_from_submission_to_result(
    shipped, emulated, fake, sandbox
):
    ours, theirs = submit(shipped), submit(emulated)
    assert shape(ours) == shape(theirs)
    assert submit(shipped).json() == ours.json()
    assert submit(emulated).json() == theirs.json()
    paths = [f"/result/{one.json()['id']}" for one in (ours, theirs)]

    fake.begin(30)
    assert shape(shipped.get(paths[0])) == shape(emulated.get(paths[1]))

    fake.end(files=["https://bucket.example/video.mp4"])
    sandbox.control("finish", provider="modal")
    ours, theirs = shipped.get(paths[0]), emulated.get(paths[1])
    assert shape(ours) == shape(theirs)
    assert set(ours.json()["output"]) == set(theirs.json()["output"])

    cancels = [path.replace("result", "cancel") for path in paths]
    assert shape(shipped.post(cancels[0])) == shape(emulated.post(cancels[1]))


def test_the_sandbox_answers_like_the_app_in_the_queue_and_to_a_cancellation(
    shipped, emulated, sandbox
):
    sandbox.provider(provider="modal", queue_seconds=600)
    ids = [submit(client).json()["id"] for client in (shipped, emulated)]

    for method, path in (("GET", "result"), ("POST", "cancel"), ("GET", "result")):
        ours, theirs = (
            client.request(method, f"/{path}/{call_id}")
            for client, call_id in zip((shipped, emulated), ids, strict=True)
        )
        assert shape(ours) == shape(theirs)


@pytest.mark.parametrize(
    ("outcome", "result"),
    [("error", {"error": "boom"}), ("invalid_input", {"error": "invalid_input: prompt"})],
)
def test_the_sandbox_answers_like_the_app_to_a_failure(
    shipped, emulated, fake, sandbox, outcome, result
):
    sandbox.provider(provider="modal", run_seconds=0, outcome=outcome)
    ids = [submit(client).json()["id"] for client in (shipped, emulated)]
    fake.end(**result)

    ours, theirs = shipped.get(f"/result/{ids[0]}"), emulated.get(f"/result/{ids[1]}")

    assert shape(ours) == shape(theirs)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/submit", {"model": "wan-2.2", "input": INPUT}),
        ("POST", "/submit", {"model": 7, "input": INPUT, "webhook": HOOK}),
        ("POST", "/submit", {"model": "wan-2.2", "input": [], "webhook": HOOK}),
        ("POST", "/submit", [1]),
        ("GET", "/result/fc-unknown", None),
        ("POST", "/cancel/fc-unknown", None),
    ],
)
def test_the_sandbox_refuses_like_the_app(shipped, emulated, method, path, body):
    ours, theirs = (client.request(method, path, json=body) for client in (shipped, emulated))

    assert (ours.status_code, ours.json()) == (theirs.status_code, theirs.json())
    assert ours.status_code in {404, 422}


def test_only_modal_checks_the_credentials(emulated):
    del emulated.headers["Modal-Secret"]

    answer = submit(emulated)

    assert (answer.status_code, answer.text) == (
        401, "modal-http: missing credentials for proxy authorization",
    )  # fmt: skip


# --- The app --------------------------------------------------------------------------------------


def test_an_unknown_model_starts_nothing(shipped, fake):
    assert submit(shipped, model="another").status_code == 404
    assert fake.spawned == []


def test_a_repeated_submission_starts_nothing(shipped, fake):
    first, second = submit(shipped).json(), submit(shipped).json()
    other = submit(shipped, webhook=f"{HOOK}2").json()

    assert first == second != other
    assert len(fake.spawned) == 2


def test_of_two_submissions_at_once_one_runs(fake):
    """Both found nothing; the second to store its call cancels it."""
    spawn, key = fake.spawn, None

    def spawn_beside_another(arguments, webhook):
        call = spawn(arguments, webhook)
        fake.store.put(key, "fc-of-the-other")
        return call

    fake.calls._models = {"wan-2.2": spawn}
    fake.calls.submit("wan-2.2", INPUT, HOOK)
    key = next(name for name in fake.store if name.startswith("webhook "))
    fake.store.clear()
    fake.calls._models = {"wan-2.2": spawn_beside_another}

    assert fake.calls.submit("wan-2.2", INPUT, HOOK) == "fc-of-the-other"
    assert fake.spawned[-1].is_cancelled


def test_a_cancelled_call_is_stopped_told_and_stays_cancelled(shipped, fake):
    call_id = submit(shipped).json()["id"]
    fake.begin()

    cancelled = {"id": call_id, "status": "cancelled"}
    assert shipped.post(f"/cancel/{call_id}").json() == cancelled
    assert fake.spawned[0].is_cancelled
    assert fake.sent == [(HOOK, cancelled)]
    assert shipped.post(f"/cancel/{call_id}").json() == cancelled
    assert len(fake.sent) == 1


def test_a_worker_that_was_stopped_is_a_failure_and_a_forgotten_call_is_404(shipped, fake):
    call_id = submit(shipped).json()["id"]
    fake.begin()
    fake.spawned[0].error = MemoryError("killed")
    assert shipped.get(f"/result/{call_id}").json() == {
        "id": call_id, "status": "failed", "error": "MemoryError: killed",
    }  # fmt: skip

    fake.spawned[0].error = UnknownCall()
    assert shipped.get(f"/result/{call_id}").status_code == 404


# --- The worker -----------------------------------------------------------------------------------


class FakeVideoModel:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def make(self, order, path, report):
        report(50)
        if self.error:
            raise self.error
        path.write_bytes(f"{order.width}x{order.height}".encode())


def run(arguments, *, error=None):
    """The result, the reported progress, and the uploaded files."""
    told: list[int] = []
    uploaded: dict[str, bytes] = {}

    def upload(path, name):
        uploaded[name] = path.read_bytes()
        return f"https://bucket.example/{name}"

    result = worker.run(
        arguments, name="job-1", model=FakeVideoModel(error), report=told.append, upload=upload
    )
    return result, told, uploaded


def test_a_worker_uploads_the_video_of_the_asked_shape():
    result, told, uploaded = run(INPUT)

    assert result == {"files": ["https://bucket.example/gpu/job-1.mp4"]}
    assert told == [50]
    assert uploaded == {"gpu/job-1.mp4": b"704x1280"}


@pytest.mark.parametrize(
    "wrong",
    [{"prompt": ""}, {"prompt": 7}, {"prompt": "x" * 5001}, {"aspect_ratio": "1:1"},
     {"resolution": "8K"}, {"aspect_ratio": []}],
)  # fmt: skip
def test_a_worker_refuses_what_it_cannot_make(wrong):
    result, told, uploaded = run(INPUT | wrong)

    assert result["error"].startswith("invalid_input: ")
    assert (told, uploaded) == ([], {})


def test_a_workers_failure_names_the_error_without_the_trace():
    result, _, uploaded = run(INPUT, error=RuntimeError("CUDA out of memory"))

    assert result == {"error": "RuntimeError: CUDA out of memory"}
    assert uploaded == {}
