"""Configuration of gunicorn: `gunicorn --config=python:rendio.gunicorn_conf rendio.wsgi`. The names
are gunicorn's."""

from __future__ import annotations

import os
from typing import Any

from rendio.common.observability import metrics_folder
from rendio.server import addresses

worker_class = "rendio.server.worker.Worker"
bind, workers = addresses.bind_and_processes(os.environ)
# Of requests that have begun, after SIGTERM.
graceful_timeout = 30
# Longer than a phone waits between two polls; the default closes in between.
keepalive = 75
# It would lie in the user's home folder, the same one for every server there.
control_socket_disable = True

# Read by the main process, before it forks those that serve.
metrics_folder.make()


def on_exit(server: Any) -> None:
    metrics_folder.remove()
