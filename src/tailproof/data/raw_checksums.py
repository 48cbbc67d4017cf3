"""The checksums of all raw files of a source: raw.parquet, the start of the chain of proof."""

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tailproof.config.data import Data
from tailproof.data.sources import open_source
from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet
from tailproof.digests import digest_of, sha256_files
from tailproof.runtime.errors import TailproofError

PATTERN = re.compile(r"[{}<>\n]")
"""Signs in paths that Snakemake takes for a wildcard or a path variable, or complains about."""


def list_raw(config: Data, samples: str | Path, output: str | Path) -> None:
    """Write path, SHA-256 and bytes of every file that the source reads or its tables list.

    Paths are relative to the root of the source, except for files outside it. The list is empty if
    the images are part of a package. A file that cannot be read is a bad image, and is not in it.

    Raises:
        TailproofError: samples.parquet or a raw file cannot be read.
    """
    source = open_source(config.source)
    files = {file for file in source.files() if file.is_file() and os.access(file, os.R_OK)}
    if source.root is not None:
        named = read_parquet(samples, ["path"])["path"].unique().to_pylist()
        files |= {source.root / path for path in named if (source.root / path).is_file()}
    table = _table(source.root or Path(), sorted(files))
    write_parquet(output, with_metadata(table, {"root": _root(config)}))


@dataclass(frozen=True)
class RawFiles:
    """The raw files of a source, as a rule declares them.

    Attributes:
        inputs: files that are inputs of the rule.
        digest: a digest of the names and the content of the other files, which Snakemake cannot
            have as inputs: it takes braces and angle brackets in paths for patterns. None if there
            are none.
    """

    inputs: list[Path]
    digest: str | None


def files_to_read(config: Data, listed: str | Path) -> RawFiles:
    """Return the raw files of a source; those listed in raw.parquet if its folder does not exist.

    This makes results usable on a machine without their raw data.

    Raises:
        TailproofError: the source does not exist and there are no results of it, or only results
            of a source elsewhere; or a file cannot be read.
    """
    root = Path(_root(config))
    if root.exists() or not Path(listed).exists():
        files = open_source(config.source).files()
        patterns = sorted(filter(_is_pattern, files))
        digests = _hash(patterns)
    else:
        recorded = _recorded(config, listed)
        files = list(recorded)
        patterns = sorted(filter(_is_pattern, files))
        digests = [recorded[path] for path in patterns]
    named = [[str(path), digest] for path, digest in zip(patterns, digests, strict=True)]
    inputs = [path for path in files if not _is_pattern(path)] if patterns else files
    return RawFiles(inputs, digest_of(named) if named else None)


def _recorded(config: Data, listed: str | Path) -> dict[Path, str]:
    """Return the digests of the raw files by path, as raw.parquet lists them."""
    root = Path(_root(config))
    listed_root = table_metadata(listed)["root"]
    if listed_root != _root(config):
        raise TailproofError(
            f"{root} does not exist, but the results are of {listed_root}: correct data.source.root"
        )
    rows = read_parquet(listed, ["path", "sha256"])
    # If root was a file, raw.parquet lists that one file.
    paths = (
        root if root.suffix == ".parquet" else root / path for path in rows["path"].to_pylist()
    )
    return dict(zip(paths, rows["sha256"].to_pylist(), strict=True))


def _is_pattern(path: Path) -> bool:
    return PATTERN.search(str(path)) is not None


def _hash(files: list[Path]) -> list[str]:
    try:
        return sha256_files(files)
    except OSError as error:
        raise TailproofError(
            f"{error.filename} cannot be read ({error.strerror}): check its permissions"
        ) from None


def replaced_raw(config: Data, listed: str | Path, since: float, seen: Path) -> list[str]:
    """Return the raw files whose content is no longer the one listed in raw.parquet.

    Their times do not decide: copying, unpacking and rsync can give a new file an old time. The
    kernel sets the time of a status change, so a file that has its size and an old status is
    not read. Any other file is hashed once, and its status is kept in `seen`.

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
    for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        path = os.path.join(folder, row[0])  # noqa: PTH118 - a Path takes longer than the rest
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:  # the audit reports it
            continue
        if status.st_size != row[2]:
            replaced.append(path)
        elif status.st_ctime_ns >= since * 1e9 and known.get(path) != (row[1], _signature(status)):
            suspects.append((path, row[1], status))
    digests = sha256_files(path for path, _, _ in suspects)
    for (path, sha256, status), digest in zip(suspects, digests, strict=True):
        if digest != sha256:
            replaced.append(path)
        elif status.st_ctime_ns < now:  # else it may change again within the same tick
            known[path] = sha256, _signature(status)
    if suspects:
        _write_status(seen, known)
    return sorted(replaced)


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


def _table(root: Path, files: Iterable[Path]) -> pa.Table:
    inside = [path.relative_to(root) if path.is_relative_to(root) else path for path in files]
    columns = {
        "path": ([path.as_posix() for path in inside], pa.string()),
        "sha256": (sha256_files(files), pa.string()),
        "bytes": ([path.stat().st_size for path in files], pa.int64()),
    }
    return pa.table({name: pa.array(*column) for name, column in columns.items()})
