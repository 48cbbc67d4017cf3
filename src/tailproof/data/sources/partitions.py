"""Finding the files of a parquet dataset: one, a folder of them, or key=value folders (Hive's)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from tailproof.core.errors import TailproofError, suggestion
from tailproof.data.sources.folders import are_splits, walk

NULL = "__HIVE_DEFAULT_PARTITION__"
Filter = dict[str, str | int | list[str | int]]


@dataclass(frozen=True)
class Part:
    """One parquet file.

    Attributes:
        path: relative to the dataset's root.
        pool: the pool that its rows belong to.
        keys: partition columns and their values, from the names of its folders.
    """

    path: str
    pool: str | None
    keys: dict[str, str | None]


def find_parts(root: Path, wanted: dict[str | None, str | None]) -> list[Part]:
    """List the parquet files of each pool, sorted by path; no file is opened.

    Args:
        root: the dataset's folder.
        wanted: for each pool a file, folder or pattern below root; None is root itself.

    Raises:
        TailproofError: nothing is there, a file is in two pools, or the files do not have the same
            partition columns.
    """
    parts: dict[str, Part] = {}
    for pool, name in wanted.items():
        found = sorted({file.relative_to(root).as_posix() for file in _files(root, name)})
        if not found:
            raise TailproofError(
                f"{root / (name or '')}: no .parquet file there; correct data.source"
            )
        for path in found:
            if path in parts:
                raise TailproofError(
                    f"{root / path} is in both pools: data.source.train and data.source.test must "
                    "not overlap"
                )
            parts[path] = Part(path, pool, _keys(path))
    first, *others = parts.values()
    for part in others:
        if list(part.keys) != list(first.keys):
            raise TailproofError(
                f"{root / part.path} has the partition columns {list(part.keys)}, "
                f"{first.path} has {list(first.keys)}; name one dataset in data.source.root"
            )
    if wanted == {None: None}:
        _refuse_split_files(root, parts)
    return list(parts.values())


def keep(parts: list[Part], wanted: Filter, root: Path) -> list[Part]:
    """Return the parts whose partition columns have the wanted values.

    Raises:
        TailproofError: there is no such column or no such value.
    """
    for key, values in wanted.items():
        if key not in parts[0].keys:
            known = ", ".join(parts[0].keys) or "none (there are no folders key=value)"
            raise TailproofError(
                f"{root}: data.source.filter names '{key}', which is no partition column"
                f"{suggestion(key, parts[0].keys)}; partition columns: {known}"
            )
        chosen = {str(value) for value in (values if isinstance(values, list) else [values])}
        there = {str(part.keys[key]) for part in parts}
        if not chosen or chosen - there:
            asked = f"'{min(chosen - there)}'" if chosen else "no value"
            raise TailproofError(
                f"{root}: data.source.filter asks for {asked} in '{key}', which matches nothing; "
                f"its values: {_shown(sorted(there))}"
            )
        parts = [part for part in parts if str(part.keys[key]) in chosen]
    return parts


def _files(root: Path, name: str | None) -> Iterator[Path]:
    """Yield the parquet files that are, lie below, or match root/name."""
    start = root / (name or "")
    try:
        for place in [start] if start.exists() else root.glob(name or ""):
            for file in walk(place) if place.is_dir() else [place]:
                if file.suffix == ".parquet" and not _ignored(file.relative_to(root)):
                    yield file
    except OSError as error:
        raise TailproofError(f"{error.filename} cannot be read: {error.strerror}") from None


def _ignored(path: Path) -> bool:
    """Return whether Hive's readers pass a file over: _metadata, half-written ones."""
    return any(part.startswith(("_", ".")) for part in path.parts)


def _keys(path: str) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in PurePosixPath(path).parent.parts)
    named = {unquote(key): unquote(value) for key, equals, value in pairs if key and equals}
    return {key: None if value == NULL else value for key, value in named.items()}


def _refuse_split_files(root: Path, paths: dict[str, Part]) -> None:
    words = {re.split(r"[-_.]", word)[0].lower() for path in paths for word in path.split("/")}
    if are_splits(words):
        raise TailproofError(
            f"{root} holds files of a training and of another set: set data.source.train and "
            "data.source.test (patterns like data/train-*.parquet are understood)"
        )


def _shown(values: list[str]) -> str:
    more = f" and {len(values) - 20} more" if len(values) > 20 else ""
    return ", ".join(f"'{value}'" for value in values[:20]) + more
