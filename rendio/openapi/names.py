"""Named schemas: every choice of texts and every object of a body is a component.

Generated clients call a type without a name after the place where it stands, once for each place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drf_spectacular.drainage import warn

Schema = dict[str, Any]

# Name → a field with these values. Other fields with the same values have the same type.
ENUMS = {
    "JobStatus": ("JobStatusAnswer", "status"),
    "JobKind": ("ModelAnswer", "kind"),
    "ModelTier": ("ModelAnswer", "tier"),
    "PricingType": ("ModelAnswer", "pricing_type"),
    "TrainingKind": ("KindOption", "kind"),
    "PictureProblem": ("ProblemItem", "problem"),
    "LedgerEntryKind": ("CreditEntry", "kind"),
    "ProductKind": ("ProductAnswer", "kind"),
    "Rollover": ("ProductAnswer", "rollover"),
    "SubscriptionStatus": ("SubscriptionAnswer", "status"),
    "UserTier": ("Profile", "tier"),
    "Language": ("Profile", "language"),
    "ThemePreference": ("Profile", "theme_preference"),
    "ConsentKind": ("ConsentRecord", "kind"),
    "PushPlatform": ("PushTokenBody", "platform"),
    "ApnsEnvironment": ("PushTokenBody", "environment"),
    "ErrorCode": ("ErrorContent", "code"),
    "ErrorType": ("ErrorContent", "type"),
}


def name_schemas(result: Any, **_: Any) -> Any:
    """drf-spectacular hook: move enums and the objects of bodies to the components."""
    for problem in [*name_enums(result), *name_bodies(result)]:
        warn(problem)
    return result


def name_enums(document: Schema) -> list[str]:
    """Replace each enum of several values by a `$ref`. Changes `document`.

    Returns a problem for each enum that `ENUMS` does not name.
    """
    schemas = document["components"]["schemas"]
    found = {
        name: schemas.get(name) or schemas[component]["properties"][field]
        for name, (component, field) in ENUMS.items()
    }
    components = {
        name: {"type": schema["type"], "enum": schema["enum"]} for name, schema in found.items()
    }
    names = {tuple(schema["enum"]): name for name, schema in components.items()}
    problems = []
    for schema in list(_enums(document)):
        values = tuple(schema["enum"])
        if values not in names:
            problems.append(
                f"an enum has no name in rendio/openapi/names.py: {', '.join(map(str, values))}."
            )
            continue
        for word in ("type", "enum", "x-spec-enum-id"):
            schema.pop(word, None)
        schema["$ref"] = f"#/components/schemas/{names[values]}"
    schemas |= components
    return problems


def _enums(part: Any) -> Iterator[Schema]:
    """All schemas with several values. An enum of one value is a constant."""
    if isinstance(part, list):
        for one in part:
            yield from _enums(one)
    elif isinstance(part, dict):
        if isinstance(values := part.get("enum"), list) and len(values) > 1:
            yield part
        for name, one in part.items():
            if name not in ("examples", "example"):
                yield from _enums(one)


def name_bodies(document: Schema) -> list[str]:
    """Replace each object that stands in its operation by a `$ref` to a component, named after the
    operation. Changes `document`. Returns a problem for each name that is taken."""
    schemas, problems = document["components"]["schemas"], []
    for id_, kind, media in _contents(document):
        if media["schema"].get("type") != "object":
            continue
        name = f"{id_[0].upper()}{id_[1:]}{kind}"
        if name in schemas:
            problems.append(f"{name} is the name of two schemas.")
        schemas[name] = media["schema"]
        media["schema"] = {"$ref": f"#/components/schemas/{name}"}
    return problems


def _contents(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    """(operation's id, `Body` or `Answer`, the content) of each media type."""
    for operations in document["paths"].values():
        for operation in operations.values():
            bodies = [("Body", operation.get("requestBody", {}))]
            bodies += [("Answer", response) for response in operation["responses"].values()]
            for kind, body in bodies:
                for media in body.get("content", {}).values():
                    yield operation["operationId"], kind, media
