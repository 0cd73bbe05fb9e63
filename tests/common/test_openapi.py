"""/openapi.json and the pages that show it."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import jsonschema_rs
import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from rendio.openapi.schema import OPERATIONS_BY_VIEW, document
from rendio.openapi.shapes import find_problems, make_nullable_components
from rendio.urls import urlpatterns, v1
from tests.helpers.openapi_conformance import described

OPERATIONS = [
    (path, method, operation)
    for path, methods in described()["paths"].items()
    for method, operation in methods.items()
]


def views(patterns, prefix):
    for one in patterns:
        if not hasattr(one, "url_patterns"):
            yield "/" + prefix + re.sub("<str:(.+?)>", r"{\1}", str(one.pattern)), one.callback
        elif str(one.pattern).startswith(("v1/", "webhooks/", "media/")):
            yield from views(one.url_patterns, prefix + str(one.pattern))


def test_every_call_under_v1_and_every_webhook_is_described():
    routes = {
        path: callback
        for path, callback in views(urlpatterns, "")
        if path.startswith(("/v1/", "/webhooks/", "/media/"))
    }

    assert set(routes) == set(described()["paths"])
    assert {callback.view_class for callback in routes.values()} == set(OPERATIONS_BY_VIEW)
    assert len(routes) >= len(v1)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_each_example_matches_its_schema(path, method, operation):
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    shown = 0
    for body in [*bodies, *operation["responses"].values()]:
        for content in body.get("content", {}).values():
            for example in content.get("examples", {}).values():
                value = resolved(example)["value"]
                schema = {**content["schema"], "components": described()["components"]}
                jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(value)
                shown += 1
    # An answer and its refusals; media are no example of anything.
    assert shown > 2, path


def resolved(one):
    if "$ref" not in one:
        return one
    return described()["components"]["examples"][one["$ref"].rpartition("/")[2]]


def test_each_refusal_schema_names_its_code():
    for path, _method, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            # What HTTP itself asks of a range or a condition has no body.
            if int(status) >= 400 and int(status) not in {412, 416}:
                assert re.match(r"- ERR_\d{4} [A-Z_]+: \w", answer["description"]), path


@pytest.mark.parametrize(
    ("component", "field"),
    [
        ("JobStatusAnswer", "error"),
        ("JobStatusAnswer", "eta_seconds"),
        ("JobInHistory", "error"),
        ("OrderBody", "settings"),
        ("GenerateBody", "settings"),
        ("DeviceCheckBody", "app_attest"),
    ],
)
def test_an_object_that_may_be_null_is_a_reference_to_a_nullable_component(component, field):
    schemas = json.loads(document().body)["components"]["schemas"]

    referred = schemas[component]["properties"][field]["$ref"].rpartition("/")[2]

    assert schemas[referred]["type"] == ["object", "null"]
    validator = jsonschema_rs.Draft202012Validator(
        {**schemas[component]["properties"][field], "components": {"schemas": schemas}}
    )
    assert validator.is_valid(None)
    assert not validator.is_valid("text")


def test_generators_support_every_schema():
    assert find_problems(json.loads(document().body)) == []


ORDERS = {"/v1/generate-video", "/v1/generate/video", "/v1/generate/image"}


def texts_of_bodies():
    """(path, name of a field, its schema) of each text in the body of a phone's call."""
    schemas = described()["components"]["schemas"]
    for path, method, operation in OPERATIONS:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if method != "post" or not content or not path.startswith("/v1/") or "/admin-" in path:
            continue
        body = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        for name, schema in body["properties"].items():
            if "$ref" in schema:
                schema = schemas[schema["$ref"].rpartition("/")[2]]
            if "string" in (schema.get("type"), *schema.get("type", ())):
                yield path, name, schema


@pytest.mark.parametrize(("path", "name", "schema"), list(texts_of_bodies()))
def test_empty_text_is_accepted_where_the_schema_allows_it(phone, path, name, schema):
    examples = described()["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    [example] = examples["examples"].values()
    headers = {"Idempotency_Key": str(uuid4())} if path in ORDERS else {}

    answer = phone.post(path.removeprefix("/v1/"), example["value"] | {name: ""}, **headers)

    takes = jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid("")
    assert answer.status_code == (200 if takes else 400), answer.content


def test_optional_ids_may_be_empty():
    taken = {
        (path, name)
        for path, name, schema in texts_of_bodies()
        if jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid("")
    }

    sources = {"upload_id", "mask_upload_id", "last_upload_id", "trained_model_id"}
    names = {"model_id", "theme_id", "image_url"} | sources
    assert taken == {
        *(("/v1/quote-video", name) for name in names),
        *((path, name) for path in ORDERS for name in (*names, "quote_id")),
    }


REF = {"$ref": "#/components/schemas/Thing"}


def with_property(schema):
    thing = {"type": "object", "properties": {"x": {"type": "string"}}}
    holder = {"type": "object", "properties": {"it": schema}}
    return {"paths": {}, "components": {"schemas": {"Thing": thing, "Holder": holder}}}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"oneOf": [REF, {"type": "string"}, {"type": "null"}]}, "one type and null"),
        ({"anyOf": [REF, {"type": "null"}]}, "one type and null"),
        ({"type": "null"}, "one type and null"),
        ({"type": ["string", "integer"]}, "one type and null"),
        ({**REF, "type": ["object", "null"]}, "beside a $ref"),
        ({"type": "string", "nullable": True}, "do not know nullable"),
        ({"not": {"type": "string"}}, "do not know not"),
        ({"type": "string", "const": "a"}, "do not know const"),
        ({"description": "Anything."}, "value of any kind"),
        ({"type": ["string", "null"], "enum": ["a", None]}, "null is no value"),
        ({"type": ["string", "null"], "enum": ["a"]}, "may be null"),
        ({"allOf": [REF, {"type": "string"}]}, "must be objects"),
        ({"type": "array", "items": {"type": "null"}}, "one type and null"),
        ({"type": "object", "additionalProperties": {"type": "null"}}, "one type and null"),
        ({"type": "object", "properties": {}, "required": ["y"]}, "y is required"),
    ],
)
def test_unsupported_schema_is_reported(schema, problem):
    assert problem in " ".join(find_problems(with_property(schema)))


def test_component_used_with_and_without_null_is_reported():
    document = with_property({"oneOf": [REF, {"type": "null"}]})
    document["components"]["schemas"]["Other"] = {"type": "array", "items": REF}

    assert "Thing is used both" in " ".join(make_nullable_components(document))


def test_description_is_built_once_and_has_an_etag(db):
    client = Client()
    first = client.get("/openapi.json")

    assert json.loads(first.content)["openapi"].startswith("3.1")
    assert first.content == document().body
    assert document() is document()
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/docs", "/docs/redoc"])
def test_documentation_page_loads_only_our_files(db, path):
    page = Client().get(path)

    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="(.+?)"', page.content.decode())
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("/static/")
        assert finders.find(address.removeprefix("/static/")), address
    assert "<script>" not in page.content.decode()
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
