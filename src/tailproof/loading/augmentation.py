"""Augmentation of batches of training images: crop, flip, cutout and noise; normalization.

Images in memory are cropped and flipped as whole batches on the device. Streamed images are
cropped and flipped one by one after decoding, with exactly the same bits.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.config.augmentation import Augmentation
from tailproof.loading.line_noise import disturb
from tailproof.loading.sampler import uniforms

DRAWS = 5  # random numbers: crop y and x, flip, cutout y and x


class BatchAugment:
    """Crops, flips and normalizes a batch on its device; applies cutout, line dropout and noise.

    Args:
        mean: mean of each channel; in [0, 1] for 8-bit pixels.
        std: standard deviation of each channel, in the unit of `mean`.
        policy: augmentation of training images; None for evaluation.
        seed: seed of the run.
        full_scale: divisor that brings pixels to the unit of `mean` and `std`.
    """

    def __init__(
        self,
        mean: list[float],
        std: list[float],
        policy: Augmentation | None,
        seed: int,
        full_scale: float = 255.0,
    ) -> None:
        self.mean, self.std = torch.tensor(mean) * full_scale, torch.tensor(std) * full_scale
        self.policy, self.seed = policy, seed

    def draws(self, epoch: int, rows: np.ndarray) -> np.ndarray | None:
        """Return the random numbers for crop, flip and cutout, float64 [B, DRAWS], or None."""
        policy = self.policy
        if policy and (policy.crop_padding or policy.flip or policy.cutout):
            return uniforms(self.seed, epoch, rows, DRAWS)
        return None

    def place(self, image: np.ndarray, out: np.ndarray, draws: np.ndarray | None) -> None:
        """Crop and flip one image into `out`, as `__call__` does with a batch.

        Args:
            image: a contiguous array [H, W, C].
            out: the place of the image in its batch, [H, W, C].
            draws: the row of `draws` for this image.
        """
        if draws is None or self.policy is None:
            out[...] = image
            return
        height, width, _ = image.shape
        padding = self.policy.crop_padding
        top, left = (draws[:2] * (2 * padding + 1)).astype(int) - padding
        if abs(top) >= height or abs(left) >= width:  # the crop is outside the image
            out[...] = 0
            return
        flip = self.policy.flip and draws[2] < 0.5
        window = image[max(top, 0) : height + top, max(left, 0) : width + left]
        if flip:
            left = -left
        if top or left:
            out[...] = 0
        target = out[max(-top, 0) : height - top, max(-left, 0) : width - left]
        if flip:
            cv2.flip(window, 1, dst=target)
        else:
            target[...] = window

    def __call__(
        self, images: Tensor, epoch: int, rows: np.ndarray, *, placed: bool = False
    ) -> Tensor:
        """Return normalized images.

        Args:
            images: uint8 or float32 [B, H, W, C].
            epoch: number of the epoch, from 1.
            rows: row numbers of the samples, [B].
            placed: whether `place` has already cropped and flipped each image.

        Returns:
            float32 [B, C, H, W], in channels-last memory.
        """
        draws = self.draws(epoch, rows)
        if self.policy and draws is not None and not placed:
            images = self._move(images, self.policy, draws)
        normal = self._normalize(images).permute(0, 3, 1, 2)
        if self.policy and self.policy.cutout and draws is not None:
            squares = torch.from_numpy(draws[:, 3:]).to(images.device)
            normal = normal * _outside_square(normal.shape[2:], self.policy.cutout, squares)
        if self.policy and (self.policy.line_dropout or self.policy.noise):
            normal = disturb(normal, self.policy, self.seed, epoch, rows, DRAWS)
        return normal

    def _move(self, images: Tensor, policy: Augmentation, draws: np.ndarray) -> Tensor:
        if images.device.type != "cpu":
            return _crop_and_flip(images, policy, torch.from_numpy(draws).to(images.device))
        before = images.numpy()
        moved = np.empty_like(before)
        for image, out, numbers in zip(before, moved, draws, strict=True):
            self.place(image, out, numbers)
        return torch.from_numpy(moved)

    def _normalize(self, images: Tensor) -> Tensor:
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        if images.device.type != "cpu" or images.dtype != torch.uint8:
            return images.float().sub(mean).div_(std)
        # A lookup table gives the same bits in one pass. Threads would wait for the cores of the
        # loader processes. numpy asks for huge pages, torch.empty does not.
        count, height, width, channels = images.shape
        table = ((torch.arange(256.0)[:, None] - mean) / std).numpy().reshape(1, 256, channels)
        normal = np.empty(images.shape, np.float32)
        shape = (count * height, width, channels)
        cv2.LUT(images.numpy().reshape(shape), table, dst=normal.reshape(shape))
        return torch.from_numpy(normal)


def _crop_and_flip(images: Tensor, policy: Augmentation, draws: Tensor) -> Tensor:
    count, height, width, _ = images.shape
    padding = policy.crop_padding
    device = images.device
    offset = (draws[:, :2] * (2 * padding + 1)).long()
    ys = torch.arange(height, device=device) + offset[:, :1]
    xs = torch.arange(width, device=device).expand(count, width)
    if policy.flip:
        xs = torch.where(draws[:, 2:3] < 0.5, width - 1 - xs, xs)
    xs = xs + offset[:, 1:2]
    if padding:
        images = F.pad(images, (0, 0, padding, padding, padding, padding))
    batch = torch.arange(count, device=device)
    return images[batch[:, None, None], ys[:, :, None], xs[:, None, :]]


def _outside_square(shape: torch.Size, side: int, draws: Tensor) -> Tensor:
    """Return 0 inside a square around a random centre, 1 outside, [B, 1, H, W].

    The centre is anywhere in the image, and the image clips the square (DeVries & Taylor 2017).
    """
    inside = []
    for axis, length in enumerate(shape):
        centre = (draws[:, axis] * length).long()[:, None]
        position = torch.arange(length, device=draws.device)
        low = centre - side // 2
        inside.append((position >= low) & (position < low + side))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    return (~square)[:, None].float()
