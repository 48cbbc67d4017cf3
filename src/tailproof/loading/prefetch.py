"""Prepares batches of images, in this process or ahead of it in worker processes."""

import errno
import io
import math
import multiprocessing
import shutil
import signal
import traceback
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from tailproof.loading.augmentation import BatchAugment
from tailproof.loading.dataset import Split
from tailproof.loading.resizing import fit
from tailproof.loading.transforms import ImageAugment, TransformError
from tailproof.resource_limits import ADVICE
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import STOP_SIGNALS, die_with_parent
from tailproof.text import quantity

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the name of the file system, not a file
NEEDED = 2**20  # bytes for the locks and queues of a process
MEMORY = f"enlarge {SHARED_MEMORY} (`docker run --shm-size=2g`), or give the job more memory"
LIMITS = {number: ADVICE[number] for number in (errno.EAGAIN, errno.EMFILE, errno.ENFILE)}
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

    def keep_in_memory(self) -> np.ndarray:
        """Decode every image once. Images that will be augmented keep their original size."""
        height, width = self._kept_size()
        assert height is not None and width is not None  # the size in memory is known
        shape = (len(self.split), height, width, self.split.channels)
        self.decoded = decoded = np.empty(shape, dtype=self.split.dtype)
        size = None if self.augment else self.size
        for row in range(len(self.split)):
            decoded[row] = fit(self.split.image(row), size, self.interpolation)
        return decoded

    def __getitems__(
        self, planned: tuple[int, np.ndarray, int]
    ) -> tuple[np.ndarray, Tensor | int | TailproofError]:
        """Return one batch: its keys, and its cropped and flipped images [B, H, W, C].

        If there are slots, the images are written to one, and its number is returned instead. An
        error is returned too: the DataLoader would put a worker's traceback into its message.
        """
        epoch, keys, slot = planned
        try:
            return keys, self._batch(epoch, keys, slot)
        except TailproofError as error:
            return keys, error

    def _batch(self, epoch: int, keys: np.ndarray, slot: int) -> Tensor | int:
        draws = self.batch_augment.draws(epoch, keys)
        batch = self.slots[slot, : len(keys)] if len(self.slots) else None
        for number, key in enumerate(keys.tolist()):
            image = self._one(epoch, key)
            if batch is None:
                batch = torch.empty((len(keys), *image.shape), dtype=self._dtype)
            numbers = None if draws is None else draws[number]
            self.batch_augment.place(image, batch.numpy()[number], numbers)
        return slot if len(self.slots) or batch is None else batch

    @property
    def _dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, self.split.dtype)).dtype

    def _one(self, epoch: int, key: int) -> np.ndarray:
        row = key % len(self.split)
        image = self.split.image(row) if self.decoded is None else self.decoded[row]
        image = self._augmented(self.augment, image, epoch, key) if self.augment else image
        return fit(image, self.size, self.interpolation)

    def _augmented(
        self, augment: ImageAugment, image: np.ndarray, epoch: int, key: int
    ) -> np.ndarray:
        sample_id = self.split.sample_ids[key % len(self.split)]
        try:
            augmented = augment(image, epoch, key)
        except TransformError as error:
            raise TailproofError(f"sample {sample_id}: {error}") from error
        if self.size is None and augmented.shape != image.shape:
            (height, width, _), (new_height, new_width, _) = image.shape, augmented.shape
            raise TailproofError(
                f"sample {sample_id}: the transforms change its size from "
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
        self._images, self._device, self._count = images, device, count
        if count:
            _check_shared_memory(count)
        if count and device.type == "cpu":  # for a GPU the DataLoader pins memory
            with self._enough():
                images.share_slots(batch_size, count * AHEAD + 1)
        self._plan = _Plan()
        self._loader = DataLoader(
            images,
            # The images take the plan of a whole batch instead of an index, and return the batch.
            batch_sampler=self._plan,  # type: ignore[arg-type]
            collate_fn=_identity,  # type: ignore[arg-type]
            worker_init_fn=_leave_signals_to_parent,
            num_workers=count,
            pin_memory=device.type == "cuda",
            persistent_workers=count > 0,
            prefetch_factor=AHEAD if count else None,
        )
        self.close = weakref.finalize(self, _end, self._loader)

    def batches(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the keys of each batch, and its cropped and flipped images [B, H, W, C].

        Raises:
            TailproofError: an image cannot be read, a transform fails on it, or the worker
                processes cannot be started.
        """
        slots = self._images.slots
        self._plan.plan = [
            (epoch, rows, number % max(len(slots), 1)) for number, rows in enumerate(batches)
        ]
        with self._enough():
            prepared = iter(self._loader)
        for rows, batch in prepared:
            if isinstance(batch, TailproofError):
                raise batch
            images = slots[batch, : len(rows)] if len(slots) else batch
            yield rows, images.to(self._device, non_blocking=True)

    @contextmanager
    def _enough(self) -> Iterator[None]:
        """Report what worker processes lack that cannot be started; end those that run.

        They ignore signals, so this process would otherwise wait for them for ever.
        """
        try:
            yield
        except (OSError, RuntimeError) as error:
            if not self._count:
                raise
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the DataLoader's would raise once more
            for process in multiprocessing.active_children():
                process.kill()
            with redirect_stderr(io.StringIO()):  # what a half-made DataLoader says at its end
                traceback.clear_frames(error.__traceback__)
            reason = str(error).splitlines()[0]
            raise TailproofError(
                f"{quantity(self._count, 'worker')} of the loader cannot be started ({reason}): "
                f"{LIMITS.get(getattr(error, 'errno', 0), MEMORY)}, or set recipe.workers to "
                "0, which gives exactly the same bytes"
            ) from None


def _check_shared_memory(count: int) -> None:
    """Refuse to start processes that could not even make their locks.

    Raises:
        TailproofError: there is too little shared memory.
    """
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        free = 0
    if free < count * NEEDED:
        raise TailproofError(
            f"{SHARED_MEMORY} has {free / 2**20:.1f} MiB free, expected at least "
            f"{count * NEEDED / 2**20:.0f} MiB for {quantity(count, 'worker')} of the loader: "
            f"{MEMORY}, or set recipe.workers to 0, which gives exactly the same bytes"
        )


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
    if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
        loader._iterator._shutdown_workers()


def _identity(batch: tuple[np.ndarray, Tensor | int | TailproofError]) -> tuple:
    return batch
