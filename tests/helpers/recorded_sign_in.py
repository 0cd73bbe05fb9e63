"""Repeats the sign-in of a new guest by inserting the rows that the first sign-in has written.

A sign-in takes 54 statements and two calls to Apple: 0.1 s of processor time, and two thousand
tests begin with one. The first in each process goes through the API. The others insert the same
nine rows with their times moved to now, and set the same bit at the sandbox's DeviceCheck. The
rollback at the end of the test removes the rows, so their ids serve again. Without that rollback,
as in tests of `committed`, each sign-in goes through the API.

A test that has changed a setting which the recorded sign-in has read signs in through the API.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import UserSettingsHolder, settings
from django.db import connection
from django.utils import timezone
from psycopg import sql

from accounts import revocations

# The access token is as old as its recording, and expires after an hour.
RECORD_AGAIN_AFTER_SECONDS = 600
# Settings that a sign-in reads and that change no row.
IRRELEVANT_SETTINGS = {"MIDDLEWARE", "RATE_LIMITS", "PASSWORD_HASHERS"}
TIMESTAMP = re.compile(r'(?<=")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"]*(?=")')


@dataclass(frozen=True)
class Recording:
    database: str
    ended_at: datetime
    made_at: float  # of time.monotonic()
    script: str  # INSERT statements
    attributes: dict[str, Any]  # of the subject
    settings: frozenset[str]  # names of those that the sign-in has read

    @property
    def is_usable(self) -> bool:
        age = time.monotonic() - self.made_at
        return self.database == _database() and age < RECORD_AGAIN_AFTER_SECONDS

    def insert_rows(self) -> None:
        # From its end on, so that no row is of a moment that is still to come.
        delay = timezone.now() - self.ended_at

        def moved(found: re.Match[str]) -> str:
            return (datetime.fromisoformat(found[0]) + delay).isoformat()

        with connection.cursor() as cursor:
            cursor.execute(TIMESTAMP.sub(moved, self.script))


# By the way to sign in, in the order in which one test signs in.
_recordings: dict[str, list[Recording]] = {}
_repeated: Counter[str] = Counter()


def begin_test() -> None:
    _repeated.clear()
    # A session that an earlier test has ended is signed in again.
    revocations._revoked._revoked_at.clear()


def sign_in(subject: object, act: Callable[[], Any]) -> bool:
    """Sign in by `act`, a method of the subject. Each subject of one test has its own recording.

    False if that was repeated: then only our rows know of it.
    """
    if not connection.in_atomic_block:
        act()
        return True
    changed = changed_settings()
    recordings = _recordings.setdefault(act.__qualname__, [])
    number = _repeated[act.__qualname__]
    if number < len(recordings) and changed & recordings[number].settings:
        act()
        return True
    if number == len(recordings) or not recordings[number].is_usable:
        recording = _record(subject, act)
        if not changed & recording.settings:
            recordings[number : number + 1] = [recording]
            _repeated[act.__qualname__] += 1
        return True
    _repeated[act.__qualname__] += 1
    vars(subject).update(deepcopy(recordings[number].attributes))
    recordings[number].insert_rows()
    return False


def changed_settings() -> set[str]:
    """Names of the settings that this test has changed by now."""
    changed: set[str] = set()
    layer = settings._wrapped
    while hasattr(layer, "default_settings"):
        changed |= vars(layer).keys() - {"_deleted", "default_settings"}
        layer = layer.default_settings
    return changed


class _NotedSettings(UserSettingsHolder):
    """Django's settings that note the names that are read."""

    def __init__(self, default_settings: Any) -> None:
        super().__init__(default_settings)
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getattr__(name)


@contextmanager
def noted_reads() -> Iterator[set[str]]:
    """Collect the names of the settings that are read meanwhile, in this and other threads."""
    replaced = settings._wrapped
    noted = _NotedSettings(replaced)
    settings._wrapped = noted  # empties Django's cache of values
    try:
        yield noted.read
    finally:
        settings._wrapped = replaced


def _record(subject: object, act: Callable[[], Any]) -> Recording:
    before = _rows()
    with noted_reads() as read:
        act()
    ended_at = timezone.now()
    statements = [
        sql.SQL("INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, {row});")
        .format(table=sql.Identifier(table), row=sql.Literal(row))
        .as_string(connection.connection)
        for (table, key), row in _rows().items()
        if (table, key) not in before
    ]
    # The HTTP client stays the subject's own.
    attributes = {name: value for name, value in vars(subject).items() if name != "client"}
    return Recording(
        _database(),
        ended_at,
        time.monotonic(),
        "".join(statements),
        deepcopy(attributes),
        frozenset(read - IRRELEVANT_SETTINGS),
    )


def _rows() -> dict[tuple[str, str], str]:
    """Every row as JSON, by its table and primary key; referenced tables first."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            table, key = model._meta.db_table, model._meta.pk.column
            cursor.execute(
                sql.SQL("SELECT {key}::text, to_jsonb(t)::text FROM {table} t").format(
                    key=sql.Identifier(key), table=sql.Identifier(table)
                )
            )
            found |= {(table, key): row for key, row in cursor.fetchall()}
    return found


def _database() -> str:
    return str(connection.settings_dict["NAME"])
