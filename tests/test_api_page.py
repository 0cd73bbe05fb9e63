"""docs/api.md is what the description says."""

from __future__ import annotations

import json

from rendio.local.data_dir import PROJECT
from rendio.openapi.markdown import render
from rendio.openapi.schema import document


def test_the_page_is_up_to_date():
    page = render(json.loads(document().body))

    is_same = (PROJECT / "docs" / "api.md").read_text() == page
    assert is_same, 'make manage ARGS="write_api_page" writes docs/api.md'


def test_the_page_has_every_call_and_code():
    described = json.loads(document().body)
    page = render(described)

    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert f"### {method.upper()} {path}\n" in page
            assert f"`{operation['operationId']}`" in page
    for code in described["components"]["examples"]:
        assert code in page
