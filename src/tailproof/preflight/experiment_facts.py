"""The facts about an experiment that are known before training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.config.recipe import Recipe
from tailproof.data.multiband import MODE
from tailproof.data.tables import unreadable
from tailproof.files import read_json

FEW = 10  # a class with fewer training samples is rare


@dataclass(frozen=True)
class ExperimentFacts:
    """Facts about the configuration and the data.

    Attributes:
        recipes: recipes by expert or by point of a sweep.
        train: number of samples of each class of the target rank in train.
        val: the same in val.
        samples: number of samples in train, with or without a label.
        positive: the positive class of a binary task; None if there are more classes.
        row_groups: number of row groups in the shards of train.
        decoded_bytes: size of the split train in memory; infinite if image sizes differ.
        sides: height and width of the images in pixels; None if they differ.
    """

    recipes: dict[str, Recipe]
    train: dict[str, int]
    val: dict[str, int]
    samples: int
    positive: str | None = None
    row_groups: int | None = None
    decoded_bytes: float = float("inf")
    sides: tuple[int, int] | None = None

    @property
    def imbalance(self) -> float:
        """Samples of the largest class divided by those of the smallest class that has any."""
        counts = [count for count in self.train.values() if count]
        return max(counts) / min(counts) if counts else 1.0

    @property
    def rare(self) -> list[str]:
        """Classes with fewer than `FEW` training samples, the smallest first."""
        rare = [name for name, count in self.train.items() if count < FEW]
        return sorted(rare, key=lambda name: self.train[name])

    @property
    def head(self) -> str:
        """The class with the most training samples."""
        return max(self.train, key=self.train.__getitem__)

    @property
    def tail(self) -> str:
        """The class with the fewest training samples."""
        return min(self.train, key=self.train.__getitem__)


def facts_of(manifest_path: str | Path, recipes: dict[str, Recipe]) -> ExperimentFacts:
    """Read the facts about an experiment.

    Args:
        manifest_path: shards/manifest.json.
        recipes: recipes by expert or point.

    Raises:
        TailproofError: the manifest or a shard of train cannot be read.
    """
    manifest = read_json(manifest_path)
    train, val = (manifest["splits"][split] for split in ("train", "val"))
    height, width = manifest["height"], manifest["width"]
    itemsize = 4 if manifest["mode"] == MODE else 1
    pixels = float("inf") if None in (height, width) else height * width * manifest["bands"]
    return ExperimentFacts(
        recipes=recipes,
        train=train["class_counts"][manifest["target"]],
        val=val["class_counts"][manifest["target"]],
        samples=train["rows"],
        positive=manifest["positive"],
        row_groups=_row_groups(Path(manifest_path).parent, train["shards"]),
        decoded_bytes=train["rows"] * pixels * itemsize,
        sides=None if None in (height, width) else (height, width),
    )


def _row_groups(folder: Path, shards: list[dict[str, Any]]) -> int:
    total = 0
    for shard in shards:
        path = folder / shard["path"]
        try:
            total += pq.read_metadata(path).num_row_groups
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(path, error, "run snakemake again with --forcerun shard") from None
    return total
