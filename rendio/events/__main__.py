"""`python -m rendio.events`: serves event streams at ADDRESS and EVENTS_PORT."""

from __future__ import annotations

import asyncio
import os

from rendio.common.observability import metrics_folder
from rendio.server import addresses


def main() -> None:
    host, port = addresses.events_address(os.environ)
    # Before the metrics are imported, which need the folder.
    metrics_folder.make()
    try:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rendio.settings")
        import django

        django.setup()
        from rendio.events.server import serve

        asyncio.run(serve(host=host, port=port))
    finally:
        metrics_folder.remove()


if __name__ == "__main__":
    main()
