"""Batches of one shard: which rows they hold, and how their images are prepared."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from tailproof.config.augmentation import Augmentation
from tailproof.data.images import decode
from tailproof.data.multiband import MODE
from tailproof.data.tables import numbers, read_parquet, table_metadata, unreadable
from tailproof.features.backbone import Backbone
from tailproof.loading.augmentation import BatchAugment
from tailproof.loading.resizing import fit
from tailproof.loading.transforms import ImageAugment, TransformError
from tailproof.runtime.errors import TailproofError


class ShardImages:
    """The samples of one shard; images are read by row group.

    Attributes:
        path: the file.
        sha256: its digest.
        mode: mode of the images.
        channels: number of their channels.
        ranks: the taxonomic ranks.
        sample_ids: list of str [N].
        labels: int64 [N] for each rank; -1 means no label.
        weight: float64 [N].
        groups: number of rows of each row group.
    """

    def __init__(self, path: str | Path, sha256: str) -> None:
        """Open the shard.

        Raises:
            TailproofError: it is missing or damaged.
        """
        self.path, self.sha256 = str(path), sha256
        facts = table_metadata(path)
        self.mode, self.channels, self.ranks = facts["mode"], facts["bands"], facts["ranks"]
        table = read_parquet(path, ["sample_id", "weight", *self.ranks])
        self.sample_ids: list[str] = table["sample_id"].to_pylist()
        self.labels = {rank: numbers(table[rank]) for rank in self.ranks}
        self.weight = numbers(table["weight"])
        footer = pq.ParquetFile(path).metadata
        self.groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    def __len__(self) -> int:
        return len(self.sample_ids)

    def encoded(self, group: int) -> pa.Array:
        """Return the encoded images of one row group.

        Raises:
            TailproofError: the shard is damaged.
        """
        try:
            with pq.ParquetFile(self.path, memory_map=True) as file:
                table = file.read_row_group(group, columns=["image.bytes"], use_threads=False)
        except (pa.ArrowException, OSError) as error:
            place = f"{self.path}, row group {group}"
            raise unreadable(place, error, "run snakemake again with --forcerun shard") from error
        return table["image"].chunk(0).field("bytes")


@dataclass(frozen=True)
class Batch:
    """Images that are computed together.

    Attributes:
        rows: their rows in the shard, int64 [B].
        view: number of the view; 0 is the plain image.
        images: the encoded images.
    """

    rows: np.ndarray
    view: int
    images: pa.Array


class Preparation:
    """Cuts a shard into batches and prepares their images.

    Args:
        shard: the samples.
        backbone: decides size, interpolation and normalization.
        augmentation: augmentation of the views after the first.
        views: number of views of each sample.
        seed: seed of the views, another one for each shard.

    Attributes:
        shard: the samples.
        views: number of views of each sample.
    """

    def __init__(
        self,
        shard: ShardImages,
        backbone: Backbone,
        augmentation: Augmentation,
        views: int,
        seed: int,
    ) -> None:
        self.shard, self.views = shard, views
        self._size, self._interpolation = backbone.size, backbone.interpolation
        self._batch_rows = backbone.batch_rows
        full_scale = 1.0 if shard.mode == MODE else 255.0
        mean, std = backbone.normalization["mean"], backbone.normalization["std"]
        self._plain = BatchAugment(mean, std, None, seed, full_scale)
        self._augmented = BatchAugment(mean, std, augmentation, seed, full_scale)
        self._transforms: ImageAugment | None = None
        if views > 1 and (augmentation.albumentations or augmentation.torchvision):
            self._transforms = _transforms(augmentation, seed, self._size, shard.mode)

    @cached_property
    def plan(self) -> list[tuple[int, range, int]]:
        """Row group, rows in it and view of each batch. Views of the same rows are neighbours."""
        return [
            (group, range(start, min(start + self._batch_rows, rows)), view)
            for group, rows in enumerate(self.shard.groups)
            for start in range(0, rows, self._batch_rows)
            for view in range(self.views)
        ]

    def batches(self, first: int) -> Iterator[Batch]:
        """Yield the batches from one on; one row group is in memory."""
        starts = list(accumulate(self.shard.groups, initial=0))
        held, images = None, None
        for group, rows, view in self.plan[first:]:
            if images is None or group != held:
                held, images = group, self.shard.encoded(group)
            start = starts[group]
            yield Batch(
                np.arange(start + rows.start, start + rows.stop),
                view,
                images.slice(rows.start, len(rows)),
            )

    def pixels(self, batch: Batch) -> np.ndarray:
        """Return the decoded images of a batch in the size of the backbone, [B, H, W, C].

        Raises:
            TailproofError: a transform fails on an image, or the images have different sizes and
                the backbone accepts any.
        """
        images = []
        for row, encoded in zip(batch.rows.tolist(), batch.images, strict=True):
            image = decode(encoded.as_py(), self.shard.mode)
            image = image if image.ndim == 3 else image[:, :, None]
            if batch.view and self._transforms:
                image = self._transformed(self._transforms, image, batch.view, row)
            images.append(fit(image, self._size, self._interpolation))
        if len({image.shape for image in images}) > 1:
            raise TailproofError(
                f"{self.shard.path}: the images have different sizes: set recipe.features.size "
                "(the shorter side is resized to it and the centre is cropped)"
            )
        return np.stack(images)

    def normalized(self, images: Tensor, batch: Batch) -> Tensor:
        """Return the input of the network, [B, C, H, W], of `pixels` on any device."""
        augment = self._augmented if batch.view else self._plain
        return augment(images, batch.view, batch.rows)

    def _transformed(
        self, transforms: ImageAugment, image: np.ndarray, view: int, row: int
    ) -> np.ndarray:
        try:
            with _LOCK:
                return transforms(image, view, row)
        except TransformError as error:
            name = self.shard.sample_ids[row]
            raise TailproofError(f"sample {name}: {error}".replace(*_PLACE)) from error


_LOCK = threading.Lock()  # the libraries of transforms have one random generator for all threads

_PLACE = ("recipe.augmentation", "recipe.features.augmentation")


def _transforms(augmentation: Augmentation, seed: int, size: int | None, mode: str) -> ImageAugment:
    try:
        return ImageAugment(augmentation, seed, size, pictures=mode != MODE)
    except TransformError as error:
        raise TailproofError(str(error).replace(*_PLACE)) from error
