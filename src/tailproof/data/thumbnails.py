"""Pictures from the shards as data URIs, and the file with one picture per class."""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tailproof.data.images import decode
from tailproof.data.multiband import viewable
from tailproof.data.tables import unreadable
from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError

SIDE = 96  # pixels; larger images are shrunk
PIXELATED = 64  # smaller ones are shown with hard pixels
CLASSES = 100


class Picture(NamedTuple):
    """An image for the page.

    Attributes:
        uri: a PNG or JPEG as a data URI.
        width: in pixels.
        height: in pixels.
        pixelated: whether it is so small that it is enlarged with hard pixels.
    """

    uri: str
    width: int
    height: int
    pixelated: bool


def write_class_thumbnails(manifest_path: str | Path, output: str | Path) -> None:
    """Write the first training picture of each class, the largest class first.

    Beyond CLASSES classes, it picks CLASSES of them, evenly from the largest to the smallest.

    Args:
        manifest_path: shards/manifest.json.
        output: a JSON file of pictures by class.

    Raises:
        TailproofError: a shard is damaged or does not fit the manifest.
    """
    manifest = read_json(manifest_path)
    target = manifest["target"]
    classes = manifest["classes"][target]
    counts = manifest["splits"]["train"]["class_counts"][target]
    ordered = sorted(filter(counts.get, classes), key=lambda name: -counts[name])
    step = max(1, len(ordered) / CLASSES)
    chosen = [ordered[int(index * step)] for index in range(min(len(ordered), CLASSES))]
    codes = {name: classes.index(name) for name in chosen}
    pictures = find_pictures(manifest_path, "train", target, set(codes.values()))
    write_json(output, {name: pictures[code]._asdict() for name, code in codes.items()})


def read_class_thumbnails(path: str | Path) -> dict[str, Picture]:
    """Return a training picture of each class, as `write_class_thumbnails` wrote them.

    Raises:
        TailproofError: the file is missing or damaged.
    """
    try:
        return {name: Picture(**fields) for name, fields in read_json(path).items()}
    except (AttributeError, TypeError):
        raise TailproofError(
            f"{path} does not list a picture for each class: delete it and run snakemake again"
        ) from None


def find_pictures(
    manifest_path: str | Path, split: str, column: str, wanted: set[Any]
) -> dict[Any, Picture]:
    """Return the first picture for each wanted value of a column; others are never decoded.

    Raises:
        TailproofError: a shard is damaged, or none has a row with one of the values.
    """
    folder = Path(manifest_path).parent
    pictures: dict[Any, Picture] = {}
    for shard in read_json(manifest_path)["splits"][split]["shards"]:
        if pictures.keys() != wanted:
            _find_in(folder / shard["path"], column, wanted, pictures)
    if missing := sorted(map(str, wanted - pictures.keys())):
        raise TailproofError(
            f"the shards of '{split}' under {folder} hold no row with {column} {missing[0]}: the "
            "evaluation is of other shards; run snakemake again with --forcerun evaluate"
        )
    return pictures


def _find_in(path: Path, column: str, wanted: set[Any], pictures: dict[Any, Picture]) -> None:
    """Add the first picture for each wanted value that is still missing."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                keys = file.read_row_group(group, [column])[column].to_pylist()
                rows: dict[Any, int] = {}
                for row, key in enumerate(keys):
                    if key in wanted and key not in pictures:
                        rows.setdefault(key, row)
                if rows:
                    images = file.read_row_group(group, ["image"])["image"]
                    pictures |= {
                        key: picture(images[row]["bytes"].as_py()) for key, row in rows.items()
                    }
    except TailproofError as error:
        raise TailproofError(
            f"{path}: an image is damaged ({error}): delete the shard and run snakemake again"
        ) from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise unreadable(path, error, "run snakemake again with --forcerun shard") from None


def picture(data: bytes, side: int = SIDE, *, lossy: bool = False) -> Picture:
    """Decode an image file and encode its pixels, shrunk to a side, without any metadata.

    Args:
        data: an image file.
        side: larger images are shrunk to it, in pixels.
        lossy: whether images that are shrunk are encoded as JPEG, which takes a quarter of PNG.

    Raises:
        TailproofError: it cannot be decoded.
    """
    decoded = decode(data)
    image = Image.fromarray(viewable(decoded) if decoded.dtype == np.float32 else decoded)
    format_ = "JPEG" if lossy and max(image.size) > side else "PNG"
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format_, optimize=True)
    encoded = base64.b64encode(file.getvalue()).decode()
    uri = f"data:image/{format_.lower()};base64,{encoded}"
    return Picture(uri, *image.size, max(image.size) < PIXELATED)
