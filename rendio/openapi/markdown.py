"""docs/api.md: the description as a page. `manage.py write_api_page` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

Schema = dict[str, Any]

_HEAD = """# The API

Made from `/openapi.json` by `manage.py write_api_page`. The rules for all calls are in
[the iPhone app](ios.md) and in [errors](errors.md). "Refusals" leaves out what many calls share:
401 ERR_4005 and 403 ERR_4006 without a valid token, 400, 413 and 415 ERR_4008 for a wrong request,
500 ERR_6003, and 503 ERR_6001 and ERR_6003.
"""
# The codes of `_HEAD`.
_EVERYWHERE = frozenset({"ERR_4005", "ERR_4006", "ERR_4008", "ERR_6001", "ERR_6003"})
_ACCESS = {"bearer": "bearer token", "staff": "staff session"}
_METHODS = ("get", "post", "put", "patch", "delete")


def render(document: Schema) -> str:
    """The page for an OpenAPI 3.1 document: its calls by tag, then its types."""
    return "\n".join([_HEAD, *_calls(document), *_types(document)]).rstrip() + "\n"


def _calls(document: Schema) -> Iterator[str]:
    calls = [
        (operation["tags"][0], path, method, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in _METHODS
    ]
    calls.sort(key=lambda call: call[0])  # By path within a tag, as in the document.
    for tag, of_tag in groupby(calls, key=lambda call: call[0]):
        yield f"## {tag}\n"
        for _tag, path, method, operation in of_tag:
            yield from _call(path, method, operation)


def _call(path: str, method: str, operation: Schema) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    access = [
        _ACCESS[name] for one in operation.get("security", ()) for name in one if name in _ACCESS
    ]
    yield f"{operation['summary']}. {' '.join(operation.get('description', '').split())}".rstrip()
    yield f"\n`{operation['operationId']}`, {access[0] if access else 'public'}.\n"
    parameters = [one for one in operation.get("parameters", ()) if "$ref" not in one]
    if parameters:
        yield from _table("parameter", [_parameter_row(one) for one in parameters])
    if body := operation.get("requestBody"):
        yield from _content("Body", body["content"])
    for status, response in operation["responses"].items():
        if status < "400":
            text = " ".join(response["description"].split())
            yield from _content(f"{status}: {text}", response.get("content", {}))
    if refusals := list(_refusals(operation)):
        yield f"Refusals: {'; '.join(refusals)}.\n"


def _refusals(operation: Schema) -> Iterator[str]:
    for status, response in operation["responses"].items():
        examples = response.get("content", {}).get("application/json", {}).get("examples", {})
        if status >= "400" and (codes := sorted(set(examples) - _EVERYWHERE)):
            yield f"{status} {', '.join(codes)}"


def _content(title: str, content: Schema) -> Iterator[str]:
    if not content:
        yield f"{title}\n"
    for media_type, media in content.items():
        schema = media["schema"]
        yield f"{title.rstrip('.')} ({media_type}): {_type(schema)}\n"
        if "properties" in schema:
            yield from _fields(schema)
        for example in media.get("examples", {}).values():
            yield _example(example["value"])


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(f"    {line}".rstrip() + "\n" for line in text.rstrip().split("\n"))


def _types(document: Schema) -> Iterator[str]:
    yield "## Types\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f"### {name}\n"
        if "description" in schema:
            yield " ".join(schema["description"].split()) + "\n"
        if "null" in schema["type"]:
            yield "May be null.\n"
        if "properties" in schema:
            yield from _fields(schema)
        else:
            yield f"{_type(schema)}\n"


def _fields(schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    rows = [
        (name, _type(one), name in required, one.get("description", ""))
        for name, one in schema["properties"].items()
    ]
    yield from _table("field", rows)


Row = tuple[str, str, bool, str]


def _parameter_row(parameter: Schema) -> Row:
    text = parameter.get("description", "")
    type_ = f"{_type(parameter['schema'])}, in {parameter['in']}"
    return parameter["name"], type_, bool(parameter.get("required")), text


def _table(title: str, rows: list[Row]) -> Iterator[str]:
    yield f"| {title} | type | required | |\n|---|---|---|---|"
    for name, type_, is_required, text in rows:
        cells = (f"`{name}`", type_, "yes" if is_required else "", " ".join(text.split()))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _type(schema: Schema) -> str:
    """In words: "list of [ImageAnswer](#imageanswer)", "integer from 2 to 30, or null"."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "allOf" in schema:
        return " and ".join(_type(one) for one in schema["allOf"])
    types = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type", "any")]
    named = next(name for name in types if name != "null")
    words = _named_type(named, schema)
    return f"{words}, or null" if "null" in types else words


def _named_type(name: str, schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(
            f"`{one if isinstance(one, str) else json.dumps(one)}`" for one in schema["enum"]
        )
    if name == "array":
        return f"list of {_type(schema['items'])}"
    values = schema.get("additionalProperties")
    if name == "object" and isinstance(values, dict) and values:
        return f"object of {_type(values)}"
    return " ".join([schema.get("format", name), *_bounds(schema)])


def _bounds(schema: Schema) -> Iterator[str]:
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
    ):
        if least in schema and most in schema:
            yield f"from {schema[least]} to {schema[most]}{unit}"
        elif least in schema:
            yield f"from {schema[least]}{unit}"
        elif most in schema:
            yield f"up to {schema[most]}{unit}"
