"""Prepares batches of images, in this process or ahead of it in worker processes."""

import math
import signal
import weakref
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailproof.loading.augmentation import BatchAugment
from tailproof.loading.dataset import Split
from tailproof.loading.resizing import fit
from tailproof.loading.transforms import ImageAugment, TransformError
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import STOP_SIGNALS, die_with_parent

AHEAD = 2  # batches that each worker prepares before they are needed


class Images(Dataset):
    """Decoded and augmented images of the requested size, from memory or from the shards."""

    def __init__(
        self,
        split: Split,
        size: int | None,
        interpolation: str,
        augment: ImageAugment | None,
        batch_augment: BatchAugment,
    ) -> None:
        self.split, self.size, self.augment = split, size, augment
        self.interpolation = interpolation
        self.batch_augment = batch_augment
        self.slots = torch.empty(0)
        self.decoded: np.ndarray | None = None

    def size_in_memory(self) -> float:
        """Return the size of all decoded images in bytes; infinite if their sizes differ."""
        height, width = self._kept_size()
        if height is None or width is None:
            return float("inf")
        pixels = len(self.split) * height * width * self.split.channels
        return pixels * self.split.dtype.itemsize

    def share_slots(self, batch_size: int, count: int) -> None:
        """Allocate shared memory for `count` batches, if the size of the images is known.

        Reusing it avoids the page faults of fresh memory in the workers and in the reader, which
        take a quarter of the time at 224 pixels. There is one slot more than there are batches in
        flight, so that a slot is read before its next batch is requested.
        """
        height, width = (self.size, self.size) if self.size else self._kept_size()
        if height is None or width is None or (self.augment and not self.size):
            return
        shape = (count, batch_size, height, width, self.split.channels)
        # Tensor.share_memory_ would fill it first.
        size = math.prod(shape) * self.split.dtype.itemsize
        storage = torch.UntypedStorage._new_shared(size)
        self.slots = torch.empty(0, dtype=self._dtype).set_(storage).view(shape)

    def keep_in_memory(self) -> None:
        """Decode every image once. Images that will be augmented keep their original size."""
        height, width = self._kept_size()
        self.decoded = np.empty(
            (len(self.split), height, width, self.split.channels), dtype=self.split.dtype
        )
        size = None if self.augment else self.size
        for row in range(len(self.split)):
            self.decoded[row] = fit(self.split.image(row), size, self.interpolation)

    def __getitems__(
        self, planned: tuple[int, np.ndarray, int]
    ) -> tuple[np.ndarray, Tensor | int | TailproofError]:
        """Return one batch: its rows, and its cropped and flipped images [B, H, W, C].

        If there are slots, the images are written to one, and its number is returned instead. An
        error is returned too: the DataLoader would put a worker's traceback into its message.
        """
        epoch, rows, slot = planned
        try:
            return rows, self._batch(epoch, rows, slot)
        except TailproofError as error:
            return rows, error

    def _batch(self, epoch: int, rows: np.ndarray, slot: int) -> Tensor | int:
        draws = self.batch_augment.draws(epoch, rows)
        batch = self.slots[slot, : len(rows)] if len(self.slots) else None
        for number, row in enumerate(rows.tolist()):
            image = self._one(epoch, row)
            if batch is None:
                batch = torch.empty((len(rows), *image.shape), dtype=self._dtype)
            numbers = None if draws is None else draws[number]
            self.batch_augment.place(image, batch.numpy()[number], numbers)
        return slot if len(self.slots) else batch

    @property
    def _dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, self.split.dtype)).dtype

    def _one(self, epoch: int, row: int) -> np.ndarray:
        image = self.split.image(row) if self.decoded is None else self.decoded[row]
        image = self._augmented(image, epoch, row) if self.augment else image
        return fit(image, self.size, self.interpolation)

    def _augmented(self, image: np.ndarray, epoch: int, row: int) -> np.ndarray:
        try:
            augmented = self.augment(image, epoch, row)
        except TransformError as error:
            raise TailproofError(f"sample {self.split.sample_ids[row]}: {error}") from error
        if self.size is None and augmented.shape != image.shape:
            (height, width, _), (new_height, new_width, _) = image.shape, augmented.shape
            raise TailproofError(
                f"sample {self.split.sample_ids[row]}: the transforms change its size from "
                f"{height}×{width} to {new_height}×{new_width} pixels: set recipe.image_size, to "
                "which images are resized afterwards"
            )
        return augmented

    def _kept_size(self) -> tuple[int | None, int | None]:
        if self.size is not None and not self.augment:
            return self.size, self.size
        return self.split.manifest["height"], self.split.manifest["width"]


class Workers:
    """Prepares batches of images, ahead of their use if there are worker processes.

    Args:
        images: the images.
        count: number of worker processes; 0 means that the calling process prepares batches.
        batch_size: maximum number of images in a batch.
        device: device of the batches.
    """

    def __init__(self, images: Images, count: int, batch_size: int, device: torch.device) -> None:
        self._images, self._device = images, device
        if count and device.type == "cpu":  # for a GPU the DataLoader pins memory
            images.share_slots(batch_size, count * AHEAD + 1)
        self._loader = DataLoader(
            images,
            batch_sampler=_Plan(),
            collate_fn=_identity,
            worker_init_fn=_leave_signals_to_parent,
            num_workers=count,
            pin_memory=device.type == "cuda",
            persistent_workers=count > 0,
            prefetch_factor=AHEAD if count else None,
        )
        self.close = weakref.finalize(self, _end, self._loader)

    def batches(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the rows of each batch, and its cropped and flipped images [B, H, W, C].

        Raises:
            TailproofError: an image cannot be read, or a transform fails on it.
        """
        slots = self._images.slots
        self._loader.batch_sampler.plan = [
            (epoch, rows, number % max(len(slots), 1)) for number, rows in enumerate(batches)
        ]
        for rows, batch in self._loader:
            if isinstance(batch, TailproofError):
                raise batch
            images = slots[batch, : len(rows)] if len(slots) else batch
            yield rows, images.to(self._device, non_blocking=True)


class _Plan:
    """The next batches that the workers prepare, as (epoch, rows, slot)."""

    def __init__(self) -> None:
        self.plan: list[tuple[int, np.ndarray, int]] = []

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, int]]:
        return iter(self.plan)

    def __len__(self) -> int:
        return len(self.plan)


def _leave_signals_to_parent(_worker: int) -> None:
    """Ignore stop signals, which every process receives: the current batch must be finished.

    Workers end when the loader is closed or deleted, or when its process ends.
    """
    die_with_parent()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(loader: DataLoader) -> None:
    # Otherwise the loader would send SIGTERM to the workers, and wait.
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()


def _identity(batch: tuple[np.ndarray, Tensor | int | TailproofError]) -> tuple:
    return batch
