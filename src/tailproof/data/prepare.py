"""The stage prepare: decodes every image of the source once and lists it in samples.parquet."""

import logging
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.config.data import Data
from tailproof.config.splits import UNKNOWN
from tailproof.data.bad_images import (
    BadImage,
    bad_images_error,
    class_loss_warning,
    why_not_skipped,
    write_bad_images,
)
from tailproof.data.grey_thumbnail import SIDE, thumbnail
from tailproof.data.heic import without_heic
from tailproof.data.images import Picture, pixel_digest, read_picture
from tailproof.data.multiband import MODE
from tailproof.data.sources import Sample, Source
from tailproof.data.sources.base import where
from tailproof.data.tables import with_metadata, write_parquet
from tailproof.data.unknown_pictures import open_pictures
from tailproof.files import atomic, write_json
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.progress import track
from tailproof.text import quantity

log = logging.getLogger(__name__)

BATCH = 8192  # rows kept as Python objects; in Arrow a row takes about 300 bytes
EXAMPLES = 3  # images that a warning names
PICTURE = 0  # the kind of an 8-bit picture; that of an array is its number of bands


def prepare(config: Data, output: str | Path, bad_list: str | Path | None = None) -> Source:
    """Decode every image of the configured source and write samples.parquet.

    Next to it, prepare.json says what was left out, bad_images.csv lists images that cannot be
    read, and near_duplicates/thumbnails.parquet is what images are compared by. The mode is ``L``
    if no image has colour, whatever its file declares, and else ``RGB``. For arrays of bands it is
    ``float32``. Images of unknown classes do not count for it.

    Args:
        config: the source, and what to do about bad images.
        output: path of samples.parquet.
        bad_list: another path of the list of bad images, which exists even if they stop the stage;
            a workflow deletes the outputs of a job that fails.

    Returns:
        The source, which need not be listed again.

    Raises:
        TailproofError: the source is missing, damaged or invalid, or too many images are bad.
    """
    source = open_pictures(config)
    source.fetch()
    rows = _Rows(source, marks_unknown=bool(config.splits_of_unknown))
    list_path = Path(output).with_name("bad_images.csv")
    with atomic(Path(output).with_name("near_duplicates") / "thumbnails.parquet") as thumbnails:
        table = rows.without_other_kinds(_table(rows, thumbnails))
        bad = sorted(rows.bad)
        write_bad_images(bad_list or list_path, bad)
        if bad and (advice := why_not_skipped(bad, table, source.ranks, config)):
            total = len(table) + len(bad)
            raise bad_images_error(bad, total, source.root, bad_list or list_path, advice)
    metadata = {
        "ranks": list(source.ranks),
        "classes": source.classes,
        "mode": MODE if rows.kind else "RGB" if rows.colour else "L",
        "bands": rows.kind or (3 if rows.colour else 1),
    }
    write_parquet(output, with_metadata(table, metadata))
    write_bad_images(list_path, bad)
    loss = class_loss_warning(bad, table, source.ranks[-1], config.max_bad_share)
    warnings = [*source.warnings(), *rows.notes(), *filter(None, [loss])]
    summary = {
        "samples": len(table),
        "bad_images": len(bad),
        "skipped": [
            {"reason": skipped.reason, "count": skipped.count, "examples": list(skipped.examples)}
            for skipped in source.skipped()
        ],
        "warnings": warnings,
    }
    write_json(Path(output).with_name("prepare.json"), summary)
    _log(summary, list_path)
    log.info("samples listed: %d, mode %s", len(table), metadata["mode"])
    return source


def _table(rows: "_Rows", thumbnails: Path) -> pa.Table:
    """Return the rows without their thumbnails, which go to a file of their own."""
    schema = rows.schema
    compared = pa.schema([schema.field("sample_id"), ("thumbnail", pa.binary(SIDE * SIDE))])
    listed_rows = track(rows, "prepare", len(rows.source))
    batches = [schema.empty_table()]
    with pq.ParquetWriter(thumbnails, compared, compression="zstd", use_dictionary=False) as writer:
        while batch := list(islice(listed_rows, BATCH)):
            batches.append(pa.Table.from_pylist(batch, schema=schema))
            writer.write_table(pa.Table.from_pylist(batch, schema=compared))
    return pa.concat_tables(batches)


def _log(summary: dict[str, Any], bad_images: Path) -> None:
    """Log what was left out, one line per reason."""
    for skipped in summary["skipped"]:
        examples = f", such as {', '.join(skipped['examples'])}" if skipped["examples"] else ""
        log.warning("left out: %s (%d)%s", skipped["reason"], skipped["count"], examples)
    if summary["bad_images"]:
        log.warning("left out: bad images (%d), see %s", summary["bad_images"], bad_images)
    for warning in summary["warnings"]:
        log.warning("%s", warning)


class _Rows:
    """The rows of samples.parquet.

    Args:
        source: the source.
        marks_unknown: whether there are images of unknown classes, which have a column for what
            the source calls them.

    Attributes:
        schema: the columns.
        bad: the images that cannot be read, in any order.
        kind: `PICTURE`, or the number of bands, of most images.
        colour: whether any 8-bit picture has colour.
    """

    def __init__(self, source: Source, *, marks_unknown: bool) -> None:
        self.source, self.schema = source, _schema(source)
        if marks_unknown:
            self.schema = self.schema.append(pa.field("unknown_class", pa.string()))
        self.bad: list[BadImage] = []
        self.kind = PICTURE
        self.colour = False
        self._numbers, self._kinds = array("q"), array("q")  # of each row
        self._known = bytearray()  # 1 for a known class
        self._noted: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, sample in enumerate(self.source.samples()):
            picture = self._read_picture(number, sample)
            if picture is not None:
                yield self._row(number, sample, picture)

    def without_other_kinds(self, table: pa.Table) -> pa.Table:
        """Return the rows of the kind that most known ones have; the others become bad images."""
        kinds = np.frombuffer(self._kinds, np.int64)
        counts = Counter(kinds[np.frombuffer(self._known, bool)].tolist())
        if counts:
            self.kind = counts.most_common(1)[0][0]
        if (kinds == self.kind).all():
            return table
        for index in np.flatnonzero(kinds != self.kind).tolist():
            (sample,) = table.slice(index, 1).to_pylist()
            reason = f"it is one of the {_kind(int(kinds[index]))}, but most are {_kind(self.kind)}"
            labels = {rank: sample[rank] for rank in self.source.ranks}
            place = sample["path"], sample["row"], sample["pool"]
            self.bad.append(BadImage(self._numbers[index], *place, labels, reason))
        return table.filter(pa.array(kinds == self.kind))

    def notes(self) -> list[str]:
        """Return sentences about what the pixels leave out of the files."""
        return [
            f"in {quantity(count, 'image')}, {note}: {', '.join(self._examples[note])}"
            for note, count in self._noted.items()
        ]

    def _read_picture(self, number: int, sample: Sample) -> Picture | None:
        """Read and decode an image; None if it is bad."""
        try:
            return read_picture(without_heic(self.source.read(sample.path, sample.row)))
        except Interrupted:
            raise
        except TailproofError as error:
            reason = _reason(str(error), Path(self.source.root or "", sample.path), sample.row)
            place = sample.path, sample.row, sample.pool
            self.bad.append(BadImage(number, *place, sample.labels, reason))
            return None

    def _row(self, number: int, sample: Sample, picture: Picture) -> dict[str, Any]:
        image = picture.pixels
        is_array = image.dtype == np.float32
        self._numbers.append(number)
        self._kinds.append(image.shape[2] if is_array else PICTURE)
        self._known.append(sample.pool != UNKNOWN)
        self.colour |= image.ndim == 3 and not is_array and sample.pool != UNKNOWN
        for note in picture.notes:
            self._noted[note] += 1
            if self._noted[note] <= EXAMPLES:
                self._examples[note].append(where(sample.path, sample.row))
        return {
            "sample_id": sample.sample_id,
            "digest": pixel_digest(image),
            "thumbnail": thumbnail(image).tobytes(),
            "group": sample.group or sample.sample_id,
            "pool": sample.pool,
            **sample.labels,
            "path": sample.path,
            "row": sample.row,
            "height": image.shape[0],
            "width": image.shape[1],
            "unknown_class": sample.unknown_class,
        }


def _kind(bands: int) -> str:
    return f"arrays of {quantity(bands, 'band')}" if bands else "8-bit pictures"


def _reason(text: str, path: Path, row: int | None) -> str:
    """Return the text of an error as one line that does not begin with the image's own path."""
    text = " ".join(text.split())
    for place in (where(path, row), str(path)):
        if text.startswith(f"{place}: "):
            return text.removeprefix(f"{place}: ")
        if text.startswith(f"{place} "):
            return f"it {text.removeprefix(f'{place} ')}"
    return text


def _schema(source: Source) -> pa.Schema:
    text = ["sample_id", "digest", "group", "pool", *source.ranks, "path"]
    return pa.schema(
        [
            *((name, pa.string()) for name in text),
            ("row", pa.int64()),
            ("height", pa.int32()),
            ("width", pa.int32()),
        ]
    )
