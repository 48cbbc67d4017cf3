"""Data sets in parquet files, right and wrong, and what is said of the wrong ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.data.images import encode_png
from tailproof.data.sources import open_source
from tailproof.data.sources.parquet import Parquet, ParquetSource
from tailproof.runtime.errors import TailproofError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (3, 4), dtype=np.uint8))


def structs(*cells) -> pa.Array:
    return pa.array([cell and {"bytes": cell, "path": None} for cell in cells], STRUCT)


def write(file: Path, rows: int = 3, row_group_size: int = 2, first: int = 0, **columns) -> None:
    """Write a file of images first, first + 1, … ; columns as they are given."""
    images = columns.pop("image", structs(*[png(seed) for seed in range(first, first + rows)]))
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"label": [f"c{row % 2}" for row in range(rows)], **columns}
    pq.write_table(pa.table({"image": images, **columns}), file, row_group_size=row_group_size)


def source(root: Path, **options) -> ParquetSource:
    return open_source(Parquet(name="parquet", root=str(root), **options))


def complaint(root: Path, **options) -> str:
    """What is said of a dataset, without the folder that all paths begin with."""
    with pytest.raises(TailproofError) as error:
        opened = source(root, **options)
        [opened.read(sample.path, sample.row) for sample in opened.samples()]
    text = str(error.value)
    assert "\n" not in text
    return text.replace(f"{root}/", "")


def partitioned(root: Path) -> Path:
    for year in ("2019", "2020"):
        for site in ("north sea", "__HIVE_DEFAULT_PARTITION__"):
            folder = root / f"year={year}" / f"site={site.replace(' ', '%20')}"
            write(folder / "part-0.parquet", rows=2, label=["a", "b"])
    return root
