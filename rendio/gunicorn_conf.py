"""Configuration of gunicorn: `gunicorn --config=python:rendio.gunicorn_conf rendio.wsgi`. The names
are gunicorn's."""

from __future__ import annotations

import gc
import os
from typing import Any

from rendio.common.observability import metrics_folder
from rendio.server import addresses

worker_class = "rendio.server.worker.Worker"
bind, workers = addresses.bind_and_processes(os.environ)
# Seconds for running requests after SIGTERM.
graceful_timeout = 30
# Longer than the pause between two polls of a phone; the default would close in between.
keepalive = 75
# Its file would be in the user's home folder, shared by every server there.
control_socket_disable = True
# The processes share the memory of what is imported, and a new one starts in milliseconds.
preload_app = True

# Runs in the main process, before it forks.
metrics_folder.make()


def when_ready(server: Any) -> None:
    # Collections would write to the shared memory, and never free any of it.
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    # Not at the top: the folder of metrics has to be there first.
    from rendio import wsgi

    wsgi.start_threads()


def on_exit(server: Any) -> None:
    metrics_folder.remove()
