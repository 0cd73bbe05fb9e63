"""/openapi.json is sound OpenAPI, and one generator of clients makes code of it that compiles."""

from __future__ import annotations

import compileall
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from rendio.openapi.names import name_enums
from rendio.openapi.schema import document
from tests.helpers.budget import large

# Files and webhooks are of any media type: no phone calls them by a generated client.
BY_HAND = {"GET /media/{token}", "POST /webhooks/{provider}", "POST /webhooks/apple-id"}


@pytest.fixture(scope="module")
def described():
    return json.loads(document().body)


@large
def test_the_description_is_sound(described):
    assert described["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


@large
def test_a_client_is_generated_with_every_call(described, tmp_path, monkeypatch):
    source, config = tmp_path / "openapi.json", tmp_path / "config.yaml"
    source.write_text(json.dumps(described))
    config.write_text("post_hooks: []\npackage_name_override: generated\n")

    made = subprocess.run(  # noqa: S603
        [
            *(Path(sys.executable).with_name("openapi-python-client"), "generate"),
            *("--path", source, "--config", config, "--meta", "none"),
            *("--output-path", tmp_path / "generated"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    told = made.stdout + made.stderr
    left_out = {line.split(" within ")[0] for line in told.splitlines() if " within " in line}
    assert left_out == {f"WARNING parsing {call}" for call in BY_HAND}, told
    assert compileall.compile_dir(tmp_path / "generated", quiet=1)
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("generated.api.generation.generate_video").sync
    # A type without a name is called after the place where it stands.
    models = importlib.import_module("generated.models").__all__
    assert [name for name in models if "Response" in name] == []


def test_every_object_of_a_body_is_a_component(described):
    for operations in described["paths"].values():
        for operation in operations.values():
            for body in [operation.get("requestBody", {}), *operation["responses"].values()]:
                for content in body.get("content", {}).values():
                    assert content["schema"].get("type") != "object"


def test_an_enum_without_a_name_is_a_problem(described):
    described["components"]["schemas"]["Done"]["properties"]["colour"] = {
        "type": "string",
        "enum": ["red", "blue"],
    }

    assert name_enums(described) == ["an enum has no name in rendio/openapi/names.py: red, blue."]
