"""Augmentation of scan lines after normalization: line dropout and noise."""

import numpy as np
import torch
from torch import Tensor

from tailproof.config.augmentation import Augmentation
from tailproof.loading.sampler import uniforms


def disturb(
    normal: Tensor, policy: Augmentation, seed: int, epoch: int, rows: np.ndarray, taken: int
) -> Tensor:
    """Set some lines to the mean, and add Gaussian noise to all pixels.

    Args:
        normal: normalized, float32 [B, C, H, W].
        policy: the strength of both.
        seed: seed of the run.
        epoch: number of the epoch, from 1.
        rows: row numbers of the samples, [B].
        taken: number of random numbers per sample that are used elsewhere.
    """
    count, channels, height, width = normal.shape
    pixels = channels * height * width
    if policy.line_dropout:
        drawn = uniforms(seed, epoch, rows, taken + height)[:, taken:]
        kept = torch.from_numpy((drawn >= policy.line_dropout).astype(np.float32))
        normal = normal * kept.to(normal.device)[:, None, :, None]
    if policy.noise:
        taken += height
        drawn = uniforms(seed, epoch, rows, taken + 2 * pixels)[:, taken:]
        radius = np.sqrt(-2 * np.log1p(-drawn[:, :pixels]))  # Box and Muller 1958
        noise = radius * np.cos(2 * np.pi * drawn[:, pixels:])
        noise = torch.from_numpy(noise.astype(np.float32)).view(count, channels, height, width)
        normal = normal + policy.noise * noise.to(normal.device)
    return normal
