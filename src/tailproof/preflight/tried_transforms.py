"""Tries the transforms of every recipe on an image of the split train."""

from pathlib import Path

import numpy as np

from tailproof.config.recipe import Recipe, WholePhase
from tailproof.diagnosis.finding import Finding
from tailproof.loading import Split
from tailproof.loading.transform_trial import TransformTrial
from tailproof.loading.transforms import ImageAugment, TransformError
from tailproof.preflight.checks.preprocessing import (
    constant_transforms,
    enlarged_crops,
    refused_transforms,
)

DRAWS = 4  # of the size of images after all transforms


def tried_transforms(manifest: str | Path, recipes: dict[str, Recipe]) -> list[Finding]:
    """Return the transforms that training will refuse, and those that set train apart from val.

    Args:
        manifest: shards/manifest.json.
        recipes: recipes by expert or point.
    """
    phases = [
        (name, phase)
        for name, recipe in recipes.items()
        for phase in recipe.timeline
        if phase.augmentation.albumentations or phase.augmentation.torchvision
    ]
    if not phases:
        return []
    image = Split(manifest, "train").image(0)
    refused: dict[str, list[str]] = {}
    constant: dict[str, list[str]] = {}
    enlarged: dict[tuple[int, int, int], list[str]] = {}
    for name, phase in phases:
        trial = TransformTrial(phase.augmentation, phase.image_size, image)
        for problem in trial.problems:
            refused.setdefault(problem, []).append(name)
        for transform in trial.constant:
            constant.setdefault(transform, []).append(name)
        crop = _small_crop(phase, image) if trial.resized and not trial.problems else None
        if crop and phase.image_size:
            enlarged.setdefault((*crop, phase.image_size), []).append(name)
    return [
        *refused_transforms(refused),
        *constant_transforms(constant),
        *enlarged_crops(enlarged),
    ]


def _small_crop(phase: WholePhase, image: np.ndarray) -> tuple[int, int] | None:
    """Return the height and width of all crops if they are too small and the image is not."""
    size = phase.image_size
    augment = ImageAugment(phase.augmentation, 0, size, pictures=image.dtype == np.uint8)
    try:
        crops = {augment(image.copy(), epoch, 0).shape[:2] for epoch in range(1, DRAWS + 1)}
    except TransformError:  # now and then; training will name the sample
        return None
    crop = crops.pop()
    too_small = size is not None and min(crop) < size <= min(image.shape[:2])
    return crop if too_small and not crops else None
