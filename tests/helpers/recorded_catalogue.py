"""Repeats the load of the catalogue where a test has changed nothing that it reads.

An order begins with a load, and each test with an empty cache: 7 ms in half of the tests. In a test
of `db` that has written neither a model nor a route or a theme, nor changed a setting that the load
has read, the first load's models and themes serve again. Whether orders are accepted is read anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection

from generation.catalogue import availability, cache
from generation.models import GenerationModel, ProviderRoute, Theme
from tests.helpers.recorded_sign_in import changed_settings, noted_reads

TABLES = [model._meta.db_table for model in (GenerationModel, ProviderRoute, Theme)]


@dataclass(frozen=True)
class Recording:
    database: str
    catalogue: cache.Catalogue
    settings: frozenset[str]  # names of those that the load has read


_recording: Recording | None = None
_are_rows_changed = False


def install() -> None:
    cache.current._function = load
    connection.execute_wrappers.append(_note_changes)


def begin_test() -> None:
    global _are_rows_changed
    _are_rows_changed = False


def load() -> cache.Catalogue:
    global _recording
    database = str(connection.settings_dict["NAME"])
    is_rolled_back = connection.in_atomic_block and not database.endswith("_committed")
    if not is_rolled_back or _are_rows_changed:
        return cache._load()
    changed = changed_settings()
    if not _recording or _recording.database != database:
        with noted_reads() as read:
            loaded = cache._load()
        if not changed & read:
            _recording = Recording(database, loaded, frozenset(read))
        return loaded
    if changed & _recording.settings:
        return cache._load()
    return replace(_recording.catalogue, availability=availability.read())


def _note_changes(
    execute: Callable[..., Any], statement: Any, parameters: Any, many: bool, context: Any
) -> Any:
    global _are_rows_changed
    text = str(statement)
    if not text.startswith("SELECT") and any(table in text for table in TABLES):
        _are_rows_changed = True
    return execute(statement, parameters, many, context)
