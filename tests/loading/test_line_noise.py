"""Noise and line dropout: how much, and that each sample's is its own."""

import numpy as np
import pytest
import torch

from tailproof.config.augmentation import Augmentation
from tailproof.loading.augmentation import BatchAugment
from tailproof.loading.transforms import ImageAugment, TransformError


def disturbed(rows, epoch=1, **policy):
    augment = BatchAugment([0.0], [1.0], Augmentation(**policy), seed=5, full_scale=1.0)
    images = torch.ones(len(rows), 16, 32, 1)
    return augment(images, epoch, np.array(rows))


def test_noise_is_gaussian_of_the_stated_width():
    found = disturbed(range(64), noise=0.25).numpy() - 1
    assert abs(found.mean()) < 0.005
    assert found.std() == pytest.approx(0.25, rel=0.02)
    assert np.mean(np.abs(found) > 0.5) == pytest.approx(0.0455, abs=0.004)


def test_lines_are_left_out_whole_and_as_often_as_stated():
    found = disturbed(range(200), line_dropout=0.2)[:, 0]
    assert set(found.unique().tolist()) == {0.0, 1.0}
    lines = found.mean(dim=2)
    assert set(lines.unique().tolist()) == {0.0, 1.0}
    assert float((lines == 0).float().mean()) == pytest.approx(0.2, abs=0.02)


def test_what_happens_to_a_sample_depends_on_seed_epoch_and_sample_alone():
    policy = {"noise": 0.1, "line_dropout": 0.3, "flip": True}
    together, alone = disturbed([3, 8, 5], **policy), disturbed([8], **policy)
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(alone, disturbed([8], epoch=2, **policy))


def test_transforms_that_would_clip_arrays_of_bands_are_refused():
    named = Augmentation(albumentations=[{"name": "GaussNoise"}])
    ImageAugment(named, 0)
    with pytest.raises(TransformError, match="GaussNoise"):
        ImageAugment(named, 0, pictures=False)
    ImageAugment(Augmentation(albumentations=[{"name": "HorizontalFlip"}]), 0, pictures=False)
