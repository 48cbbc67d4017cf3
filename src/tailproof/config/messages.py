"""What a model refuses, one sentence a mistake: the field, what was found and the remedy."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from tailproof.runtime.errors import suggestion

Path = tuple[str | int, ...]

OURS = {
    "string_pattern_mismatch": "should be a name of letters, digits, '_', '-' and '.'",
    "model_type": "should be a mapping of keys",
    "dict_type": "should be a mapping of keys",
}
"""What is said in other words than pydantic's, by its kinds of mistakes."""


def explain_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one sentence a mistake, in the order of the model's fields.

    Told once is a mistake in the recipe, which all experts inherit; and of a value that may be of
    several types, what is wrong with the type that it comes nearest to.
    """
    schema = model.model_json_schema()
    told: dict[Path, tuple[str, str]] = {}
    for item in error.errors():
        path, text, value = _tell(item, schema)
        told[path] = (f"{told[path][0]} or {text}" if path in told else text, value)
    return [
        f"'{'.'.join(map(str, path))}' {text}{value}"
        for path, (text, value) in told.items()
        if not _inherited(path, told) and not _told_deeper(path, told)
    ]


def _inherited(path: Path, told: dict[Path, tuple[str, str]]) -> bool:
    return path[:1] == ("experts",) and told.get(("recipe", *path[2:])) == told[path]


def _told_deeper(path: Path, told: dict[Path, tuple[str, str]]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in told)


def _tell(item: dict[str, Any], schema: dict[str, Any]) -> tuple[Path, str, str]:
    """Return where a mistake is, what it is, and what was found where that helps."""
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
        return (*path, key), f"{text}; known: {', '.join(names)}", ""
    message = OURS.get(kind) or re.sub(r"^(Value error, |\w+ (?=should ))", "", item["msg"])
    if not message.startswith("should"):
        return path, f"is wrong: {message}", ""
    return path, message, "" if isinstance(value, dict | list) else f", found {value!r}"


def _locate(
    location: tuple[str | int, ...], schema: dict[str, Any]
) -> tuple[Path, dict[str, Any], list[str]]:
    """Walk the schema along a location of pydantic's, which has labels of union members in it.

    Returns:
        The path without labels, the schema of what lies there, and the keys known beside it.
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
    """Follow references, and `or null` to what it is otherwise."""
    options = [option for option in node.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        return _resolve(options[0], schema)
    if "$ref" in node:
        return _resolve(schema["$defs"][node["$ref"].removeprefix("#/$defs/")], schema)
    return node
