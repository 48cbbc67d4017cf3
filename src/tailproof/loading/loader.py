"""The loader: delivers a small split from memory, and a large one from its shards."""

import logging
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tailproof.config.recipe import Augmentation
from tailproof.loading.augmentation import BatchAugment
from tailproof.loading.dataset import Split
from tailproof.loading.prefetch import Images, Workers
from tailproof.loading.resizing import BICUBIC
from tailproof.loading.sampler import Sampler, random_keys
from tailproof.loading.transform_trial import TransformTrial
from tailproof.loading.transforms import ImageAugment
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The share of a batch that one process gets.

    Attributes:
        images: normalized, float32 [B, C, H, W].
        rows: row numbers in the split, int64 [B].
        real: number of rows, from the first, that count. The other rows fill up a batch whose
            size is not a multiple of the number of processes; another process delivers them too.
        size: number of samples of the batch in all processes together.
    """

    images: Tensor
    rows: np.ndarray
    real: int
    size: int


class Loader:
    """Delivers a split in batches: shuffled and augmented for training, in order for evaluation.

    Args:
        split: the split to deliver.
        batch_size: samples per batch in all processes together; the last batch of an epoch may
            be smaller.
        image_size: side of the images in pixels; None means the original size.
        normalization: mean and std of each channel, in [0, 1] for 8-bit pixels.
        interpolation: how images are resized, ``bicubic`` or ``bilinear``.
        augmentation: augmentation for training; None means evaluation, in order and without
            randomness.
        sampler: how training draws the samples of an epoch, as in the recipe.
        seed: seed of order and augmentation.
        drop_last: whether training skips a smaller last batch.
        workers: number of processes that decode and augment; 0 means this process does.
        memory_budget: maximum bytes of a decoded split that is kept in memory.
        device: device of the batches.
        rank: number of this process among those that share each batch.
        world: number of those processes.
        total: a function that sums counts over those processes.

    Raises:
        TailproofError: the split is empty, a batch is larger than the split, the images have
            different sizes and `image_size` is None, or a transform does not fit the images.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        image_size: int | None,
        normalization: dict[str, list[float]],
        interpolation: str = BICUBIC,
        augmentation: Augmentation | None = None,
        sampler: str = "instance",
        seed: int = 0,
        drop_last: bool = False,
        workers: int = 0,
        memory_budget: float = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        total: Callable[[Tensor], Tensor] = lambda counts: counts,
    ) -> None:
        if not len(split):
            raise TailproofError(
                f"the split {split.name} is empty: raise its fraction in data.splits"
            )
        original = (split.manifest["height"], split.manifest["width"])
        if image_size is None and None in original:
            raise TailproofError(
                "the images have different sizes: set recipe.image_size (the shorter side is "
                "resized to it and the centre is cropped)"
            )
        self.training = augmentation is not None
        self.drop_last = drop_last and self.training
        if self.drop_last and batch_size > len(split):
            raise TailproofError(
                f"recipe.batch_size is {batch_size}, but the split {split.name} has {len(split)} "
                "samples, so drop_last leaves no batch: lower batch_size"
            )
        self.split, self.batch_size = split, batch_size
        labels = split.labels[split.manifest["target"]]
        self._sampler = Sampler(sampler, labels, split.groups, split.block_rows, seed)
        self._rank, self._world, self._total = rank, world, total
        self.device = torch.device(device)
        self._augment = BatchAugment(
            normalization["mean"], normalization["std"], augmentation, seed, split.full_scale
        )
        self._images: Images | None = Images(
            split,
            image_size,
            interpolation,
            _image_augment(split, augmentation, seed, image_size),
            self._augment,
        )
        self._resides = self._images.size_in_memory() <= memory_budget
        self._worker_count = workers
        self._resident: Tensor | None = None
        self._workers: Workers | None = None

    def _open(self) -> None:
        """Decode images that stay in memory, or start workers; called by the first epoch."""
        images = self._images
        if self._resides:
            images.keep_in_memory()
        elif self.training:
            images.split.keep(self._sampler.kept)
        if self._resides and not images.augment:
            self._resident = torch.from_numpy(images.decoded).to(self.device)
        else:
            self._workers = Workers(images, self._worker_count, self.batch_size, self.device)

    def close(self) -> None:
        """End the worker processes and free memory. No epoch can be delivered afterwards."""
        if self._workers is not None:
            self._workers.close()
        self._images = self._resident = self._workers = None

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def order(self, epoch: int) -> np.ndarray:
        """Return the rows of an epoch in the order of delivery, int64."""
        if not self.training:
            return np.arange(len(self.split))
        return self._sampler.order(epoch)[: len(self) * self.batch_size]

    def epoch(self, epoch: int, first: int = 1) -> Iterator[Batch]:
        """Yield the share of this process of the batches of an epoch, starting at batch `first`.

        Epochs and batches are numbered from 1.

        Raises:
            TailproofError: a sample was not delivered as often as the order has it.
        """
        if self._resident is None and self._workers is None:
            self._open()
        count = len(self.split)
        order = random_keys(self.order(epoch), count)[(first - 1) * self.batch_size :]
        batches = [
            order[start : start + self.batch_size]
            for start in range(0, len(order), self.batch_size)
        ]
        shares = [self._share(batch) for batch in batches]
        delivered = np.zeros(count, np.int64)
        fetched = self._fetch(epoch, [keys for keys, _ in shares])
        placed = self._workers is not None
        for batch, (_, real), (keys, images) in zip(batches, shares, fetched, strict=True):
            rows = keys % count
            np.add.at(delivered, rows[:real], 1)
            yield Batch(self._augment(images, epoch, keys, placed=placed), rows, real, len(batch))
        self._check(delivered, order % count, epoch)

    def _share(self, batch: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the keys of this process, as many as in every process, and how many of them count.

        The keys that count, of one process after the other, are the batch.
        """
        size = -(-len(batch) // self._world)
        keys = batch[self._rank * size : (self._rank + 1) * size]
        return np.concatenate([keys, np.repeat(batch[-1:], size - len(keys))]), len(keys)

    def _check(self, delivered: np.ndarray, order: np.ndarray, epoch: int) -> None:
        delivered = self._total(torch.from_numpy(delivered)).numpy()
        wrong = np.flatnonzero(delivered != np.bincount(order, minlength=len(self.split)))
        if wrong.size:
            raise TailproofError(
                f"in epoch {epoch}, the loader did not deliver {wrong.size} samples of "
                f"{self.split.name} exactly as often as the sampler drew them, the first is "
                f"{self.split.sample_ids[wrong[0]]}"
            )

    def _fetch(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        if self._workers is not None:
            yield from self._workers.batches(epoch, batches)
            return
        for keys in batches:
            rows = torch.from_numpy(keys % len(self.split))
            yield keys, self._resident[rows.to(self.device)]


def _image_augment(
    split: Split, policy: Augmentation | None, seed: int, size: int | None
) -> ImageAugment | None:
    """Build the transforms of single images, if there are any; try them on the first image.

    Raises:
        TailproofError: a transform does not fit the images; one line per problem.
    """
    if policy is None or not (policy.albumentations or policy.torchvision):
        return None
    image = copy(split).image(0)  # the copy's cache of a whole row group is not kept
    problems = TransformTrial(policy, size, image).problems
    if problems:
        raise TailproofError("\n  ".join(dict.fromkeys(problems)))
    return ImageAugment(policy, seed, size, pictures=split.dtype == np.uint8)
