"""The database of the test, for other processes and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, connections

from rendio.config import database_url


def url_of_database() -> str:
    """DATABASE_URL for a process on the database of the test, with all that this run's says."""
    return database_url.url(
        settings.DATABASE_ADDRESS | {"dbname": connection.settings_dict["NAME"]}
    )


@contextmanager
def connected_to(name: str) -> Iterator[None]:
    """All threads' new connections go to this database."""
    before = connection.settings_dict["NAME"]
    connections.close_all()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = before
