"""What the fuzz tests start from: a phone, and a look at all rows at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.apps import apps
from django.db import connection

from tests.billing.conftest import AppStore, store
from tests.generation.conftest import life, signer, stub_server
from tests.generation.uploads.conftest import Storage, storage

__all__ = ["AppStore", "Storage", "life", "signer", "storage", "store", "stub_server"]


@pytest.fixture
def rows(db: None) -> Callable[[], str]:
    """Says where all rows of customers, jobs and money lie: inserting, updating or deleting one
    makes it another text. In one statement, as it is asked after each example."""
    tables = [
        model._meta.db_table
        for name in ("accounts", "credits", "generation", "billing")
        for model in apps.get_app_config(name).get_models()
    ]
    where = "(SELECT string_agg(ctid::text, '' ORDER BY ctid) FROM {})"
    statement = f"SELECT md5(concat_ws('|', {', '.join(map(where.format, tables))}))"

    def look() -> str:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            [[digest]] = cursor.fetchall()
        return str(digest)

    return look
