"""Every table has an entry that says how it grows; docs/growth.md shows all of them."""

from __future__ import annotations

import importlib

import pytest
from django.apps import apps

from adminops.monitoring.table_growth import TABLES, as_table
from rendio.local.data_dir import PROJECT
from tests.test_security_page import names_in

PAGE = (PROJECT / "docs" / "growth.md").read_text()


def test_each_table_has_an_entry_and_each_entry_a_table():
    tables = {model._meta.label for model in apps.get_models(include_auto_created=True)}

    assert tables - TABLES.keys() == set(), (
        "say in adminops/monitoring/table_growth.py how these grow"
    )
    assert TABLES.keys() - tables == set()


@pytest.mark.parametrize("name", TABLES)
def test_an_entry_names_what_deletes_rows_or_why_they_are_kept(name):
    growth = TABLES[name]

    assert growth.by
    assert growth.bound
    assert bool(growth.deleted_by) != bool(growth.kept)
    if growth.deleted_by:
        module, _, function = growth.deleted_by.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    if growth.test:
        path, _, test = growth.test.partition("::")
        assert test in names_in(path)


def test_what_callers_add_and_we_delete_has_a_test():
    """Rows that are deleted once they are worked on are not many: their tests are those of the
    work."""
    worked_off = {
        "accounts.AppleIdentity",
        "accounts.AppleRevocation",
        "generation.FileDeletion",
        "generation.AccountMediaDeletion",
        "billing.AppAccountTokenUpdate",
        "adminops.Heartbeat",
    }

    untested = {name for name, growth in TABLES.items() if growth.deleted_by and not growth.test}

    assert untested == worked_off


def test_the_page_shows_the_same():
    """manage.py shell -c 'from adminops.monitoring.table_growth import as_table; print(as_table())'
    prints it.
    """
    assert as_table() in PAGE
