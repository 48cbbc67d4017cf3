"""The loader: delivers a small split from memory, and a large one from its shards."""

import logging
from collections.abc import Callable, Iterator
from copy import copy

import numpy as np
import torch
from torch import Tensor

from tailproof.config.augmentation import Augmentation
from tailproof.loading.augmentation import BatchAugment
from tailproof.loading.batches import Batches
from tailproof.loading.dataset import Split
from tailproof.loading.prefetch import Images, Workers
from tailproof.loading.resizing import BICUBIC
from tailproof.loading.transform_trial import TransformTrial
from tailproof.loading.transforms import ImageAugment
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)


class Loader(Batches):
    """Delivers the images of a split, augmented for training.

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
        super().__init__(
            split,
            batch_size=batch_size,
            training=augmentation is not None,
            sampler=sampler,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world=world,
            total=total,
        )
        original = (split.manifest["height"], split.manifest["width"])
        if image_size is None and None in original:
            raise TailproofError(
                "the images have different sizes: set recipe.image_size (the shorter side is "
                "resized to it and the centre is cropped)"
            )
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
        images, decoded = self._images, None
        assert images is not None  # the loader is not closed
        if self._resides:
            decoded = images.keep_in_memory()
        elif self.training:
            images.split.keep(self.sampler.kept)
        if decoded is not None and not images.augment:
            self._resident = torch.from_numpy(decoded).to(self.device)
        else:
            self._workers = Workers(images, self._worker_count, self.batch_size, self.device)

    def close(self) -> None:
        """End the worker processes and free memory. No epoch can be delivered afterwards."""
        if self._workers is not None:
            self._workers.close()
        self._images = self._resident = self._workers = None

    def fetch(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the keys of each batch and their images."""
        if self._resident is None and self._workers is None:
            self._open()
        if self._workers is not None:
            for keys, images in self._workers.batches(epoch, batches):
                yield keys, self._augment(images, epoch, keys, placed=True)
            return
        resident = self._resident
        assert resident is not None  # without workers, all images are
        for keys in batches:
            rows = torch.from_numpy(keys % len(self.split))
            images = resident[rows.to(self.device)]
            yield keys, self._augment(images, epoch, keys, placed=False)


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
