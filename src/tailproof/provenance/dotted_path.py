"""Looks up a value in nested mappings and lists by a dotted key; names may contain dots."""

import csv
from pathlib import Path
from typing import Any

from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.untrusted_text import plain_cell

SHOWN = 12


def look_up(value: Any, key: str, where: str | Path) -> tuple[Any, tuple[str, ...]]:
    """Return the value at ``a.b.0.c``, and the names along the path to it.

    Args:
        value: nested mappings and lists.
        key: names and positions, separated by dots.
        where: location of the value, for error messages.

    Raises:
        TailproofError: there is no such key.
    """
    if (path := _steps(value, key)) is not None:
        for step in path:
            value = _children(value)[step]
        return value, path
    prefix: list[str] = []
    while (name := _prefix(value, key)) is not None:
        value, key = _children(value)[name], key[len(name) + 1 :]
        prefix.append(name)
    names, word = list(_children(value)), key.split(".")[0]
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    parent = ".".join(prefix)
    raise TailproofError(
        f"{where} has no key '{'.'.join([*prefix, word])}'{suggestion(word, names)}; "
        + (f"choose one of: {shown}" if names else f"'{parent}' is a single value")
    )


def read_keyed(path: str | Path) -> tuple[Any, list[str]]:
    """Read a file whose values have keys: JSON, or a CSV table.

    A row of a table is keyed by the values of its first columns, as many as make rows unique. Each
    further cell of the row is keyed by its column's name.

    Returns:
        The content, and the names of those first columns; none for JSON.

    Raises:
        TailproofError: the file is missing, damaged, or neither JSON nor CSV.
    """
    suffix = Path(path).suffix
    if suffix == ".json":
        return read_json(path), []
    if suffix != ".csv":
        raise TailproofError(
            f"{path} has no keys, which only JSON files and CSV tables have: leave out '#'"
        )
    try:
        with open(path, encoding="utf-8", newline="") as file:
            head, *rows = (list(map(plain_cell, row)) for row in csv.reader(file, strict=True))
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise TailproofError(
            f"{path} is not a CSV table ({error}): delete it and run snakemake again"
        ) from None
    count = next(
        (n for n in range(1, len(head)) if len({tuple(row[:n]) for row in rows}) == len(rows)),
        len(head),
    )
    content: dict[str, Any] = {}
    for row in rows:
        place = content
        for name in row[:count]:
            place = place.setdefault(name, {})
        place |= zip(head[count:], row[count:], strict=False)
    return content, head[:count]


def _children(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {str(index): item for index, item in enumerate(value)} if isinstance(value, list) else {}


def _steps(value: Any, key: str) -> tuple[str, ...] | None:
    children = _children(value)
    if key in children:
        return (key,)
    for name, child in children.items():
        if key.startswith(f"{name}."):
            rest = _steps(child, key[len(name) + 1 :])
            if rest is not None:
                return (name, *rest)
    return None


def _prefix(value: Any, key: str) -> str | None:
    """Return the longest child name that the key starts with, or None."""
    names = [name for name in _children(value) if f"{key}.".startswith(f"{name}.")]
    return max(names, key=len, default=None)
