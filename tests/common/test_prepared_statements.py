"""Statements that PostgreSQL prepares are seen like all others."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from rendio.common.db import prepared_cursor


def test_prepared_statement_is_in_the_query_log_each_time(db):
    with CaptureQueriesContext(connection) as logged:
        for number in range(8):  # PostgreSQL prepares it on the way
            with prepared_cursor() as cursor:
                cursor.execute("SELECT %s::int", [number])

    assert [query["sql"] for query in logged] == ["SELECT %s::int"] * 8
