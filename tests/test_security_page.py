"""docs/security.md names each way in, each risk of OWASP's list, and tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache

from django.urls import get_resolver

from rendio.local.data_dir import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)


@cache
def names_in(path: str) -> set[str]:
    body = ast.parse((PROJECT / "tests" / path).read_text()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def test_each_test_that_the_page_names_exists():
    assert len(NAMED) > 20
    assert {(path, name) for path, name in NAMED if name not in names_in(path)} == set()


def test_each_of_the_ten_risks_has_a_row_with_a_test():
    rows = {row[1]: row[0] for row in re.finditer(r"^\| (API\d+) .*$", PAGE, re.M)}

    assert list(rows) == [f"API{number}" for number in range(1, 11)]
    assert {risk for risk, row in rows.items() if "::test_" not in row} == set()


def test_every_way_in_is_on_the_page():
    served = {f"/{pattern.pattern}" for pattern in get_resolver().url_patterns}

    assert {way for way in served if f"`{way}`" not in PAGE} == set()
