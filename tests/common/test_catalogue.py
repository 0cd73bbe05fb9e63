"""The catalogue of errors: docs/errors.md has each code, and a test that provokes it."""

from __future__ import annotations

import ast
import re

import pytest

from rendio.common.errors import Refusal, all_refusals
from rendio.local.data_dir import PROJECT

ROW = re.compile(r"\| (ERR_\d{4}) \| (\w+) \| (\d{3}) \| (.+?) \| `(.+?)::(.+?)` \|")
ROWS = {found[1]: found for found in ROW.finditer((PROJECT / "docs" / "errors.md").read_text())}


def test_documentation_has_no_unknown_codes():
    assert set(ROWS) == {refusal.code for refusal in all_refusals()}


@pytest.mark.parametrize("refusal", all_refusals())
def test_each_code_is_documented_with_its_status_and_type(refusal):
    _, type_, status, text = ROWS[refusal.code].groups()[:4]

    assert (type_, int(status)) == (refusal.type, refusal.status)
    assert text


@pytest.mark.parametrize("refusal", all_refusals())
def test_each_code_is_provoked_by_a_test(refusal):
    path, name = ROWS[refusal.code].groups()[4:]
    source = (PROJECT / "tests" / path).read_text()

    [test] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert refusal.code in (ast.get_source_segment(source, test) or "")


def test_a_code_of_another_refusal_is_not_accepted():
    with pytest.raises(TypeError, match="ERR_4007 is NotFound already"):
        type("Again", (Refusal,), {"code": "ERR_4007", "type": "AGAIN"})


def test_types_are_unique():
    assert len({refusal.type for refusal in all_refusals()}) == len(all_refusals())
