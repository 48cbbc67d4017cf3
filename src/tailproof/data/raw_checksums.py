"""The checksums of every raw file of a source: raw.parquet, where the proof of all else starts."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from tailproof.config.data import Data
from tailproof.data.sources import open_source
from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet
from tailproof.digests import sha256_files
from tailproof.runtime.errors import TailproofError


def list_raw(config: Data, samples: str | Path, output: str | Path) -> None:
    """Write path, SHA-256 and bytes of every file that the source reads or its tables name.

    Paths are relative to the source's root, but for files that lie elsewhere. The list is empty
    where the images come with a package.

    Raises:
        TailproofError: samples.parquet or a raw file cannot be read.
    """
    source = open_source(config.source)
    files = set(source.files())
    if source.root is not None:
        named = read_parquet(samples, ["path"])["path"].unique().to_pylist()
        files |= {source.root / path for path in named if (source.root / path).is_file()}
    table = _table(source.root or Path(), sorted(files))
    write_parquet(output, with_metadata(table, {"root": _root(config)}))


def files_to_read(config: Data, listed: str | Path) -> list[Path]:
    """Return the raw files of a source; those of raw.parquet where its folder is not there.

    So results can be used on a machine without the raw data that they were made from.

    Raises:
        TailproofError: the source is not there, and nothing was made from it yet, or from one
            elsewhere; or the name of a file has braces.
    """
    root = Path(_root(config))
    if root.exists() or not Path(listed).exists():
        files = open_source(config.source).files()
        for file in files:
            if "{" in str(file):
                raise TailproofError(f"{file}: Snakemake takes braces for wildcards: rename it")
        return files
    known = table_metadata(listed)["root"]
    if known != _root(config):
        raise TailproofError(f"{root} does not exist; the results were made from {known}")
    # A root that was itself a file held the rows of that one file.
    return [
        root if root.suffix == ".parquet" else root / path
        for path in read_parquet(listed, ["path"])["path"].to_pylist()
    ]


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
