"""Test data for the benchmarks: natural-looking pictures, and the stages prepare to shard."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.manifest import write_manifest
from tailproof.data.prepare import prepare
from tailproof.data.shards import shard
from tailproof.data.splits import split


def build(config: Data, folder: Path) -> Path:
    """Run the stages prepare to shard; return the manifest."""
    prepare(config, folder / "samples.parquet")
    split(folder / "samples.parquet", config, folder / "splits.parquet", folder / "splits.json")
    return build_shards(config, folder)


def build_shards(config: Data, folder: Path) -> Path:
    """Run the stage shard for every split; return the manifest."""
    facts = {}
    for name in SPLITS:
        part = folder / "shards" / name / "part-00000.parquet"
        facts[name] = [part.with_suffix(".json")]
        pair = (folder / "samples.parquet", folder / "splits.parquet")
        shard(*pair, config, name, 0, part, *facts[name])
    write_manifest(folder / "samples.parquet", facts, config, folder / "shards" / "manifest.json")
    return folder / "shards" / "manifest.json"


def pictures(count: int, size: int, distinct: int = 256) -> Iterator[Image.Image]:
    """Yield colour pictures, all different: `distinct` drawn ones, then shifted, marked copies."""
    rng = np.random.default_rng(0)
    drawn = [np.asarray(_draw(rng, size)) for _ in range(min(count, distinct))]
    mark = max(size // 8, 1)
    for number in range(count):
        picture = np.roll(drawn[number % len(drawn)], tuple(rng.integers(0, size, 2)), (0, 1))
        picture[:mark, :mark] = rng.integers(0, 256, 3)
        yield Image.fromarray(picture)


def _draw(rng: np.random.Generator, size: int) -> Image.Image:
    """Draw smooth random fields of all scales, as in natural images, and a few sharp shapes."""
    field = np.zeros((size, size, 3), np.float32)
    cells = 2
    while cells <= size:
        noise = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        bands = [Image.fromarray(noise[..., band]) for band in range(3)]
        smooth = [band.resize((size, size), Image.Resampling.BICUBIC) for band in bands]
        field += np.stack(smooth, axis=-1) / cells**0.5
        cells *= 2
    field = 0.75 * field.mean(axis=-1, keepdims=True) + 0.25 * field
    picture = Image.fromarray((128 + 60 * field).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for shape in (draw.ellipse, draw.rectangle) * 3:
        left, top, width, height = rng.uniform(0, size / 3, 4)
        colour = tuple(rng.integers(0, 256, 3).tolist())
        shape((2 * left, 2 * top, 2 * left + width, 2 * top + height), fill=colour)
    return picture
