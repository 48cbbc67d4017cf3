"""Turns validation errors into sentences: the field, what was expected, what was found."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tailproof.config.base import NAME
from tailproof.runtime.errors import suggestion
from tailproof.untrusted_text import printable

Path = tuple[str | int, ...]

OURS = {
    "string_pattern_mismatch": "should be a name of letters, digits, '_', '-' and '.', the first a "
    "letter or digit",
    "model_type": "should be a mapping of keys",
    "dict_type": "should be a mapping of keys",
    "bool_type": "should be a boolean, true or false",
}
"""Messages that replace pydantic's, by pydantic's error type; of patterns, for that of a name."""

LONGEST = 100
"""Characters of a value in a message."""


def explain_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one sentence per error, in the order of the model's fields.

    An error in the recipe, which all experts inherit, is reported once. For a value of a union
    type, only the errors of the closest type are reported.
    """
    schema = model.model_json_schema()
    errors: dict[Path, tuple[str, str]] = {}
    for item in error.errors():
        path, text, value = _describe(item, schema)
        if path in errors:
            text, value = f"{errors[path][0]} or {text}", max(errors[path][1], value, key=len)
        errors[path] = text, value
    return [
        f"'{printable('.'.join(map(str, path)))}' {text}{value}"
        for path, (text, value) in errors.items()
        if not _inherited(path, errors) and not _has_nested_error(path, errors)
    ]


def _inherited(path: Path, errors: dict[Path, tuple[str, str]]) -> bool:
    return path[:1] == ("experts",) and errors.get(("recipe", *path[2:])) == errors[path]


def _has_nested_error(path: Path, errors: dict[Path, tuple[str, str]]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in errors)


def _describe(item: ErrorDetails, schema: dict[str, Any]) -> tuple[Path, str, str]:
    """Return the path of an error, its text, and the value found where that helps."""
    path, node, siblings = _locate(item["loc"], schema)
    kind, value = item["type"], item["input"]
    if kind == "extra_forbidden":
        return path, f"is not a known key{suggestion(str(path[-1]), siblings)}", ""
    if kind == "missing":
        return path, "is missing", ""
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key, names = node["discriminator"]["propertyName"], list(node["discriminator"]["mapping"])
        tag = item["ctx"].get("tag")
        text = f"is '{tag}'{suggestion(str(tag), names)}" if tag is not None else "is missing"
        return (*path, key), f"{text}, expected one of {', '.join(names)}", ""
    ours = None if _is_other_pattern(item) else OURS.get(kind)
    message = ours or re.sub(r"^(Value error, |\w+ (?=should ))", "", item["msg"])
    if not message.startswith("should"):
        return path, f"is invalid: {message}", ""
    found = "" if isinstance(value, dict | list) else f", found {_short(value)}"
    return path, message, found + (_quoted(value) if kind == "string_type" else "")


def _is_other_pattern(item: ErrorDetails) -> bool:
    return item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] != f"^{NAME}$"


def _quoted(value: Any) -> str:
    """Return how to write a value as text if YAML took it for something else."""
    if isinstance(value, bool):
        return f": put a name that YAML reads as a truth value in quotes, '{str(value).lower()}'"
    if isinstance(value, int | float):
        return ": put a name that YAML reads as a number in quotes, as you wrote it"
    if value is None:
        return ": write a text, in quotes if it is 'null' or '~'"
    return ""


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _locate(
    location: tuple[str | int, ...], schema: dict[str, Any]
) -> tuple[Path, dict[str, Any], list[str]]:
    """Follow an error location of pydantic through the schema.

    Returns:
        The path without pydantic's labels of union members, the schema at that path, and the keys
        that are valid there.
    """
    path: list[str | int] = []
    siblings: list[str] = []
    node = _resolve(schema, schema)
    for part in location:
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif "anyOf" in node:
            node = next((option for option in node["anyOf"] if "items" in option), {})
        elif part != "[key]":
            fields = node.get("properties", {})
            path, siblings = [*path, part], list(fields)
            entries = [*node.get("patternProperties", {}).values(), node.get("items", {}), {}]
            node = fields.get(part, entries[0])
        node = _resolve(node, schema)
    return tuple(path), node, siblings


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Resolve references, and reduce an optional type to the type itself."""
    options = [option for option in node.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        return _resolve(options[0], schema)
    if "$ref" in node:
        return _resolve(schema["$defs"][node["$ref"].removeprefix("#/$defs/")], schema)
    return node
