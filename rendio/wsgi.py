"""The web processes' entry: `gunicorn rendio.wsgi`. The process that forks them imports it."""

import atexit
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rendio.settings")
application = get_wsgi_application()

# After Django is set up; before, there are no models to read.
from accounts import revocations  # noqa: E402
from adminops.monitoring import heartbeats  # noqa: E402
from generation import streams  # noqa: E402
from rendio import urls  # noqa: E402, F401 (otherwise the first request of each process imports it)


def start_threads() -> None:
    """Call in each web process after the fork: its threads and connections are its own."""
    revocations.start()
    heartbeats.start_for_web()
    atexit.register(heartbeats.stop_for_web)
    streams.close_on_sigterm()
