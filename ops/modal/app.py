"""Our app on Modal: the HTTP API, and a worker on a GPU. docs/gpus.md says how to deploy it.

At least once: Modal starts a call again if its container crashed or was taken away. A call that was
begun MAX_ATTEMPTS times fails.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import modal

HERE = Path(__file__).parent
GPU = "H100"
# A worker that takes longer is stopped. Rendio gives up after 600 seconds by default.
TIMEOUT_SECONDS = 600
MAX_ATTEMPTS = 2
IDLE_SECONDS = 120
MAX_WORKERS = 10
WEBHOOK_PAUSES = (0, 10, 10)

app = modal.App("rendio-gpu")
store = modal.Dict.from_name("rendio-gpu-calls", create_if_missing=True)
weights = modal.Volume.from_name("rendio-gpu-weights", create_if_missing=True)
web_image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install("starlette==1.10.0", "requests==2.34.2")
    .add_local_file(HERE / "http_api.py", "/root/http_api.py")
)
gpu_image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install_from_requirements(str(HERE.parent / "gpu" / "requirements.txt"))
    .pip_install("starlette==1.10.0")
    .env({"HF_HOME": "/weights"})
    .add_local_file(HERE / "http_api.py", "/root/http_api.py")
    .add_local_file(HERE.parent / "gpu" / "worker.py", "/root/worker.py")
    .add_local_file(HERE.parent / "gpu" / "wan.py", "/root/wan.py")
)


@app.cls(
    image=gpu_image,
    gpu=GPU,
    timeout=TIMEOUT_SECONDS,
    retries=0,
    scaledown_window=IDLE_SECONDS,
    max_containers=MAX_WORKERS,
    volumes={"/weights": weights},
    secrets=[modal.Secret.from_name("rendio-gpu")],
)
class WanWorker:
    @modal.enter()
    def load(self) -> None:
        from wan import Wan

        self._model = Wan()

    @modal.method()
    def make(self, arguments: dict[str, Any], webhook: str) -> None:
        import worker
        from http_api import ended_call, ended_key, progress_key

        call_id = str(modal.current_function_call_id())
        attempts_key = f"attempts {call_id}"
        attempt = store.get(attempts_key, 0) + 1
        store.put(attempts_key, attempt)
        store.put(progress_key(call_id), 0)
        began = time.monotonic()
        if attempt > MAX_ATTEMPTS:
            result = {"error": f"the worker was stopped {MAX_ATTEMPTS} times"}
        else:
            result = worker.run(
                arguments,
                name=call_id,
                model=self._model,
                report=lambda percent: store.put(progress_key(call_id), percent),
                upload=worker.upload_to_bucket,
            )
        execution_ms = round(1000 * (time.monotonic() - began))
        call = ended_call(call_id, result, execution_ms=execution_ms)
        if store.put(ended_key(call_id), call, skip_if_exists=True):
            send(webhook, call)


def send(webhook: str, call: dict[str, Any]) -> None:
    """Post a call to its webhook. Without an answer, Rendio's polls find the end."""
    import requests

    for pause in WEBHOOK_PAUSES:
        time.sleep(pause)
        try:
            if requests.post(webhook, json=call, timeout=10, allow_redirects=False).ok:
                return
        except requests.RequestException:
            continue


@app.function(image=web_image)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(requires_proxy_auth=True)
def web() -> Any:
    from http_api import Calls, create_app

    calls = Calls(
        models={"wan-2.2": lambda arguments, webhook: WanWorker().make.spawn(arguments, webhook)},
        find_call=modal.FunctionCall.from_id,
        store=store,
        unknown_call_errors=(
            modal.exception.OutputExpiredError,
            modal.exception.NotFoundError,
            modal.exception.InvalidError,
        ),
        send=send,
    )
    return create_app(calls)
