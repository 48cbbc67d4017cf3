"""Tables that Label Studio imports as tasks: one row for each image, with what is known of it."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tailproof.data.thumbnails import Picture
from tailproof.files import write_text
from tailproof.untrusted_text import csv_line

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves the files below its document root."""

IMAGE, SAMPLE = "image", "sample_id"


def local_file(path: str) -> str:
    """Return the URL of a file below Label Studio's document root."""
    return LOCAL_FILES + quote(path)


def find_image_urls(samples_path: str | Path, sample_ids: Collection[str]) -> dict[str, str | None]:
    """Return where Label Studio finds the image file of each sample.

    Args:
        samples_path: samples.parquet.
        sample_ids: the samples.

    Returns:
        a URL by sample; None if the image is part of a larger file.
    """
    table = pq.read_table(
        samples_path,
        columns=["sample_id", "path", "row"],
        filters=pc.field("sample_id").isin(pa.array(list(sample_ids), pa.string())),
    )
    return {
        row["sample_id"]: None if row["row"] is not None else local_file(row["path"])
        for row in table.to_pylist()
    }


def write_tasks(
    path: str | Path,
    columns: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    urls: Mapping[str, str | None],
    pictures: Mapping[str, Picture],
) -> None:
    """Write a table of tasks.

    Args:
        path: the file.
        columns: the columns after that of the image; `SAMPLE` is one of them.
        rows: their values.
        urls: the URL of each sample's image; None if it has none.
        pictures: the picture of each sample whose image has no URL; the table contains it.
    """
    at = columns.index(SAMPLE)
    tasks = [(urls[row[at]] or pictures[row[at]].uri, *row) for row in rows]
    write_text(path, "".join(map(csv_line, ((IMAGE, *columns), *tasks))))
