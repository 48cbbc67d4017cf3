"""The checksums of all raw files of a source: raw.parquet, the start of the chain of proof."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tailproof.config.data import Data
from tailproof.data.sources import Source
from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet
from tailproof.data.unknown_pictures import open_pictures
from tailproof.digests import digest_of, iterate_sha256, sha256_files
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track

PATTERN = re.compile(r"[{}<>\n]")
"""Signs in paths that Snakemake takes for a wildcard or a path variable, or complains about."""
BATCH = 65536  # rows kept as Python objects
MOST_INPUTS = 1000
"""Files that are inputs of a rule: Snakemake asks 48 times for the status of each, and reads a new
one 5 times."""


def list_raw(
    config: Data, samples: str | Path, output: str | Path, source: Source | None = None
) -> None:
    """Write path, SHA-256 and bytes of every file that the source reads or its tables list.

    Paths are relative to the root of the source, except for files outside it. The list is empty if
    the images are part of a package. A file that cannot be read is a bad image, and is not in it.
    The column `watched` says which files are `Source.files`.

    Args:
        config: the data section.
        samples: samples.parquet.
        output: raw.parquet.
        source: the source as prepare listed it, which is then not listed again.

    Raises:
        TailproofError: samples.parquet or a raw file cannot be read.
    """
    source = source or open_pictures(config)
    start = _start(source.root or Path())
    files = {str(file): True for file in source.files() if os.access(file, os.R_OK)}
    if source.root is not None:
        for path in read_parquet(samples, ["path"])["path"].unique().to_pylist():
            files.setdefault(start + path.removeprefix("./"), False)
    files = {path: files[path] for path in sorted(files) if Path(path).is_file()}
    write_parquet(output, with_metadata(_table(start, files), {"root": _root(config)}))


@dataclass(frozen=True)
class RawFiles:
    """The raw files of a source, as a rule declares them.

    Attributes:
        inputs: files that are inputs of the rule.
        digest: a digest of the names of the other files, which Snakemake does not get as inputs;
            None if there are none. `replaced_raw` sees whether their content has changed.
    """

    inputs: list[Path]
    digest: str | None


def files_to_read(config: Data, listed: str | Path) -> RawFiles:
    """Return the raw files of a source; those listed in raw.parquet if its folder does not exist.

    This makes results usable on a machine without their raw data.

    Raises:
        TailproofError: the source does not exist and there are no results of it, or only results
            of a source elsewhere.
    """
    root = Path(_root(config))
    if root.exists() or not Path(listed).exists():
        files = open_pictures(config).files()
    else:
        files = _recorded(config, listed)
    if len(files) > MOST_INPUTS:
        others, inputs = files, []
    else:
        others = [path for path in files if _is_pattern(path)]
        inputs = [path for path in files if not _is_pattern(path)]
    return RawFiles(inputs, digest_of(sorted(map(str, others))) if others else None)


def _recorded(config: Data, listed: str | Path) -> list[Path]:
    """Return the files of the source, as raw.parquet lists them."""
    root = Path(_root(config))
    listed_root = table_metadata(listed)["root"]
    if listed_root != _root(config):
        raise TailproofError(
            f"{root} does not exist, but the results were made from {listed_root}: correct "
            "data.source.root"
        )
    rows = read_parquet(listed, ["path", "watched"])
    paths = rows.filter(rows["watched"])["path"].to_pylist()
    # If root was a file, raw.parquet lists that one file.
    return [root if root.suffix in (".parquet", ".tar") else root / path for path in paths]


def _is_pattern(path: Path) -> bool:
    return PATTERN.search(str(path)) is not None


def replaced_raw(config: Data, listed: str | Path, since: float, seen: Path) -> list[str]:
    """Return the raw files whose content is no longer the one listed in raw.parquet.

    Their times do not decide: copying, unpacking and rsync can give a new file an old time. The
    kernel sets the time of a status change, so a file that has its size and an old status is
    not read. Any other file is hashed once, and its status is kept in `seen`. If prepare began in
    the future, the clock was set back since, and no time says anything: all files are hashed.

    Args:
        config: the data section.
        listed: raw.parquet, which may not exist.
        since: when prepare began to read, in seconds since the epoch.
        seen: a parquet file with the status of files that were hashed since; it may not exist.
    """
    root, known = Path(_root(config)), _read_status(seen)
    try:
        table = read_parquet(listed, ["path", "sha256", "bytes"])
    except TailproofError:
        return []  # prepare runs anyway, or the audit reports the file
    folder = root.parent if root.is_file() else root
    replaced, suspects, now = [], [], time.time_ns()
    since_ns = 0 if since * 1e9 > now else since * 1e9
    for row in _rows(table):
        path = os.path.join(folder, row[0])  # noqa: PTH118 - a Path takes longer than the rest
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:  # the audit reports it
            continue
        if status.st_size != row[2]:
            replaced.append(path)
        elif (path in known or status.st_ctime_ns >= since_ns) and (
            known.get(path) != (row[1], _signature(status))
        ):
            suspects.append((path, row[1], status))
    digests = sha256_files(path for path, _, _ in suspects)
    for (path, sha256, status), digest in zip(suspects, digests, strict=True):
        if digest != sha256:
            replaced.append(path)
        elif not now <= status.st_ctime_ns <= time.time_ns():  # it may change again in this tick
            known[path] = sha256, _signature(status)
    if suspects:
        _write_status(seen, known)
    return sorted(replaced)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches(BATCH):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _signature(status: os.stat_result) -> str:
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _read_status(seen: Path) -> dict[str, tuple[str, str]]:
    try:
        table = read_parquet(seen, ["path", "sha256", "status"])
    except TailproofError:
        return {}  # the files are hashed again
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return {path: (sha256, status) for path, sha256, status in rows}


def _write_status(seen: Path, known: dict[str, tuple[str, str]]) -> None:
    columns = {
        "path": list(known),
        "sha256": [sha256 for sha256, _ in known.values()],
        "status": [status for _, status in known.values()],
    }
    with suppress(TailproofError, OSError):  # the files are hashed again
        write_parquet(seen, pa.table(columns))


def _root(config: Data) -> str:
    return getattr(config.source, "root", ".")


def _start(root: Path) -> str:
    """Return what the path of each file below a folder starts with."""
    return "" if root == Path() else f"{root}/".replace("//", "/")


def _table(start: str, files: dict[str, bool]) -> pa.Table:
    """Return the table of files, by path, that says whether each is watched."""
    hashed = track(iterate_sha256(list(files)), "hash the raw files", len(files))
    columns = {
        "path": ([path.removeprefix(start) for path in files], pa.string()),
        "sha256": (list(hashed), pa.string()),
        "bytes": (map(os.path.getsize, files), pa.int64()),
        "watched": (files.values(), pa.bool_()),
    }
    return pa.table({name: pa.array(*column) for name, column in columns.items()})
