"""Thumbnails from the shards as data URIs: one of each class, and the worst errors on dev."""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tailproof.data.images import decode
from tailproof.data.multiband import viewable
from tailproof.report.results import Results
from tailproof.runtime.errors import TailproofError

SIDE = 96  # pixels; larger images are shrunk
PIXELATED = 64  # smaller images are enlarged without smoothing
CLASSES = 100


class Picture(NamedTuple):
    """A thumbnail.

    Attributes:
        uri: a PNG as a data URI.
        width: width in pixels.
        height: height in pixels.
        pixelated: whether the page enlarges it without smoothing, because it is small.
    """

    uri: str
    width: int
    height: int
    pixelated: bool


def of_classes(results: Results) -> dict[str, Picture]:
    """Return a training image of each class, the largest class first.

    If there are more than CLASSES classes, CLASSES of them are taken, evenly spaced from the
    largest to the smallest.
    """
    ordered = sorted(results.train_counts, key=lambda name: -results.train_counts[name])
    step = max(1, len(ordered) / CLASSES)
    chosen = [ordered[int(index * step)] for index in range(min(len(ordered), CLASSES))]
    target = results.manifest["target"]
    index = {name: results.manifest["classes"][target].index(name) for name in chosen}
    images = _find(results, "train", target, set(index.values()))
    return {name: images[code] for name, code in index.items()}


def of_errors(results: Results) -> tuple[str, list[dict[str, Any]]]:
    """Return a method, and its most confident mistakes on dev with their thumbnails.

    The method is the best ensemble, or the best expert without ensembles.
    """
    method = results.scores.best_ensemble or results.scores.best_expert
    errors = results.tables["errors"].query("method == @method")
    errors = errors.head(results.experiment.report.worst_errors)
    images = _find(results, "dev", "sample_id", set(errors["sample_id"]))
    return method, [
        {**row, "picture": images[row["sample_id"]]} for row in errors.to_dict("records")
    ]


def _find(results: Results, split: str, column: str, wanted: set[Any]) -> dict[Any, Picture]:
    """Return the first image for each wanted value of a column; no other image is decoded."""
    found: dict[Any, Picture] = {}
    for shard in results.manifest["splits"][split]["shards"]:
        path = results.folder / "shards" / shard["path"]
        if found.keys() != wanted:
            _find_in(path, column, wanted, found)
    if missing := sorted(map(str, wanted - found.keys())):
        raise TailproofError(
            f"the shards of '{split}' under {results.folder / 'shards'} have no row with {column} "
            f"{missing[0]}: they do not match the evaluation, run evaluate again"
        )
    return found


def _find_in(path: Path, column: str, wanted: set[Any], found: dict[Any, Picture]) -> None:
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                keys = file.read_row_group(group, [column])[column].to_pylist()
                rows = {}
                for row, key in enumerate(keys):
                    if key in wanted and key not in found:
                        rows.setdefault(key, row)
                if rows:
                    images = file.read_row_group(group, ["image"])["image"]
                    found |= {
                        key: picture(images[row]["bytes"].as_py()) for key, row in rows.items()
                    }
    except TailproofError as error:
        raise TailproofError(f"{path}: an image is damaged: {error}; run shard again") from None
    except (OSError, KeyError, ValueError) as error:
        raise TailproofError(f"{path} cannot be read ({error}): run shard again") from None


def picture(data: bytes) -> Picture:
    """Decode an image and encode it again, shrunk to SIDE: only its pixels are kept.

    Raises:
        TailproofError: it cannot be decoded.
    """
    decoded = decode(data)
    image = Image.fromarray(viewable(decoded) if decoded.dtype == np.float32 else decoded)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(uri, *image.size, max(image.size) < PIXELATED)
