"""Schema shapes that client generators understand.

JSON Schema can say "an object or null" in several ways. Apple's swift-openapi-generator supports
one of them for a component: `type: [object, null]`, which it follows through a `$ref` (its
`Handling-nullable-schemas.md`). It drops a property described as `oneOf: [$ref, {type: null}]` from
the Swift type without an error (apple/swift-openapi-generator issues 817, 906 and 950). The shape
used here is valid JSON Schema too, and openapi-generator makes the same types from it.

`find_problems` refuses every other shape that a generator drops or leaves untyped. `manage.py
spectacular --fail-on-warn`, part of `make check`, reports them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drf_spectacular.drainage import warn

Schema = dict[str, Any]

_NULL = {"type": "null"}
_COMPOSITIONS = ("allOf", "anyOf", "oneOf")
# Keywords that OpenAPIKit 3, Apple's reader, decodes. It drops others, such as `if`.
_KEYWORDS = frozenset(
    {
        *("$ref", *_COMPOSITIONS, "type", "enum", "format", "title", "description", "default"),
        *("example", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"),
        *("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
        *("items", "minItems", "maxItems", "uniqueItems"),
        *("pattern", "minLength", "maxLength", "contentEncoding", "contentMediaType"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)
# Keywords that may stand beside a `$ref` without changing the allowed values.
_BESIDE_REF = frozenset({"$ref", "description", "deprecated", "readOnly", "writeOnly", "default"})


def for_generators(result: Any, **_: Any) -> Any:
    """drf-spectacular hook: fix the shapes, warn about the rest."""
    problems = make_nullable_components(result)
    for problem in problems + find_problems(result):
        warn(problem)
    return result


def make_nullable_components(document: Schema) -> list[str]:
    """Replace each `oneOf: [$ref, null]` by the `$ref`, and make the component nullable.

    Changes `document`. Returns one problem for each component that is also used where null is not
    allowed: the two uses need two serializers.
    """
    or_null = [schema for _where, schema in _walk(document) if _is_ref_or_null(schema)]
    for schema in or_null:
        schema |= next(one for one in schema.pop("oneOf") if one != _NULL)
    nullable = {_name(schema) for schema in or_null}
    for name in nullable:
        component = document["components"]["schemas"][name]
        component["type"] = [component["type"], "null"]
    never_null = {
        _name(schema)
        for _where, schema in _walk(document)
        if "$ref" in schema and not any(schema is one for one in or_null)
    }
    return [
        f"{name} is used both where null is allowed and where it is not: make two serializers."
        for name in sorted(nullable & never_null)
    ]


def _is_ref_or_null(schema: Schema) -> bool:
    parts = schema.get("oneOf", ())
    return len(parts) == 2 and _NULL in parts and any(set(one) == {"$ref"} for one in parts)


def find_problems(document: Schema) -> list[str]:
    """Problems of all schemas of an OpenAPI 3.1 document, one sentence each.

    Empty for a document that the generators support completely.
    """
    return [
        f"{where}: {problem}"
        for where, schema in _walk(document)
        for problem in _problems_of(schema, document)
    ]


def _problems_of(schema: Schema, document: Schema) -> Iterator[str]:
    if unknown := {word for word in schema if not word.startswith("x-")} - _KEYWORDS:
        yield f"generators do not know {', '.join(sorted(unknown))}."
    if "$ref" in schema:
        if beside := {word for word in schema if not word.startswith("x-")} - _BESIDE_REF:
            yield f"{', '.join(sorted(beside))} beside a $ref is not taken into account."
        return
    types = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")]
    named = [name for name in types if name != "null"]
    if len(named) != 1 or len(types) > 2:
        yield "a type is one type, or one type and null."
    compositions = [word for word in _COMPOSITIONS if word in schema]
    if named == [None] and not compositions:
        yield "without a type it is generated as a value of any kind."
    if "enum" in schema and "null" in types:
        yield "an enum that may be null is not generated: leave it out instead."
    if "enum" in schema and None in schema["enum"]:
        yield "null is no value of an enum."
    for part in schema.get("allOf", ()):
        if not _is_object(part, document):
            yield "the parts of an allOf must be objects."
    if missing := set(schema.get("required", ())) - set(schema.get("properties", ())):
        yield f"{', '.join(sorted(missing))} is required and not described."


def _is_object(schema: Schema, document: Schema) -> bool:
    if "$ref" in schema:
        return _is_object(document["components"]["schemas"][_name(schema)], document)
    return schema.get("type") == "object"


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _walk(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Every schema with its location."""
    components = document["components"]
    for name, schema in components.get("schemas", {}).items():
        yield from _inside(schema, name)
    for kind in ("headers", "parameters"):
        for name, one in components.get(kind, {}).items():
            yield from _inside(one["schema"], f"{kind} {name}")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                if "schema" in parameter:
                    yield from _inside(parameter["schema"], f"{where} {parameter['name']}")
            bodies = [("body", operation.get("requestBody", {})), *operation["responses"].items()]
            for status, body in bodies:
                for media in body.get("content", {}).values():
                    yield from _inside(media["schema"], f"{where} {status}")
                for name, header in body.get("headers", {}).items():
                    if "schema" in header:
                        yield from _inside(header["schema"], f"{where} {status} {name}")


def _inside(schema: Schema, where: str) -> Iterator[tuple[str, Schema]]:
    yield where, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _inside(inner, f"{where}.{name}")
    for word in ("items", "additionalProperties"):
        # `{}` and true: anything.
        if isinstance(inner := schema.get(word), dict) and inner:
            yield from _inside(inner, f"{where} {word}")
    for word in _COMPOSITIONS:
        for inner in schema.get(word, ()):
            yield from _inside(inner, f"{where} {word}")
