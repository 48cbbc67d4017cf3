"""Reads timm's model registry from its source files, because importing timm imports torch."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tailproof.files import package_folder
from tailproof.runtime.errors import TailproofError, suggestion

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


def check_model(name: str) -> None:
    """Check that timm has an architecture, given with or without a weights tag.

    Raises:
        TailproofError: the name is unknown.
    """
    architecture = name.partition(".")[0]
    if architecture not in _sources():
        raise TailproofError(
            f"--model {name}: timm has no model '{architecture}'"
            f"{suggestion(architecture, _sources())}: give a name of timm.list_models()"
        )


@cache
def default_side(name: str) -> int:
    """Return timm's default image side for a model, in pixels.

    Raises:
        TailproofError: timm's sources do not define it, or the images are not square.
    """
    architecture = name.partition(".")[0]
    module = ast.parse(_sources()[architecture].read_text(encoding="utf-8"))
    builders = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    for tag, call in _entries(module):
        if tag == name or (name == architecture and tag.split(".")[0].rstrip("*") == name):
            size = _input_size(call, builders) if isinstance(call, ast.Call) else None
            if size and size[1] == size[2]:
                return size[1]
            break
    raise TailproofError(
        f"--model {name}: timm's sources define no square image size for it: add --img-size N"
    )


@cache
def _sources() -> dict[str, Path]:
    """Return the source file of each architecture."""
    folder = package_folder("timm") / "models"
    return {
        name: file
        for file in sorted(folder.rglob("*.py"))
        for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))
    }


def _entries(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the items of every dictionary, such as ``'architecture.tag': _cfg(...)``, in order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), value


def _input_size(call: ast.Call, builders: dict[str, ast.FunctionDef]) -> tuple[int, ...] | None:
    """Return the ``input_size`` of a call or of the function that it calls; None if absent."""
    for keyword in call.keywords:
        if keyword.arg == "input_size":
            return _literal(keyword.value)
    builder = builders.get(getattr(call.func, "id", ""))
    if builder is None:
        return None
    for key, value in _entries(builder):
        if key == "input_size":
            return _literal(value)
    inner = (node for node in ast.walk(builder) if isinstance(node, ast.Call))
    others = (node for node in inner if getattr(node.func, "id", "") != builder.name)
    return next(filter(None, (_input_size(node, builders) for node in others)), None)


def _literal(node: ast.expr) -> tuple[int, ...] | None:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
