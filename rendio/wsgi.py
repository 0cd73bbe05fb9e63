"""The web processes' entry: `gunicorn rendio.wsgi`. The process that forks them imports it."""

import atexit
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rendio.settings")
django.setup(set_prefix=False)

# After Django is set up; before, there are no models to read.
from accounts import revocations  # noqa: E402
from adminops.monitoring import heartbeats  # noqa: E402
from rendio import urls  # noqa: E402, F401 (otherwise the first request of each process imports it)
from rendio.common.web.handler import Handler  # noqa: E402

application = Handler()


def start_threads() -> None:
    """Call in each web process after the fork: its threads and connections are its own."""
    revocations.start()
    heartbeats.for_web.start()
    atexit.register(heartbeats.for_web.stop)
