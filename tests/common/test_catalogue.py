"""The catalogue of errors: docs/errors.md has each code, and a test that provokes it."""

from __future__ import annotations

import ast
import re

import pytest

from rendio.common.errors import Code
from rendio.local.data_dir import PROJECT

ROW = re.compile(r"\| (ERR_\d{4}) \| (\w+) \| (\d{3}) \| (.+?) \| `(.+?)::(.+?)` \|")
ROWS = {found[1]: found for found in ROW.finditer((PROJECT / "docs" / "errors.md").read_text())}


def test_no_other_code_is_documented():
    assert set(ROWS) == {code.value.code for code in Code}


@pytest.mark.parametrize("code", Code)
def test_each_code_is_documented_as_it_is_answered(code):
    _, type_, status, text = ROWS[code.value.code].groups()[:4]

    assert (type_, int(status)) == (code.name, code.value.status)
    assert text


@pytest.mark.parametrize("code", Code)
def test_each_code_is_provoked_by_a_test(code):
    path, name = ROWS[code.value.code].groups()[4:]
    source = (PROJECT / "tests" / path).read_text()

    [test] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert code.value.code in (ast.get_source_segment(source, test) or "")


def test_codes_and_types_are_told_once():
    assert len({code.value.code for code in Code}) == len(Code)
