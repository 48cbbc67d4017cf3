"""Resizing of narrow, tiny and large images: the pixels of a full resize, in bounded memory."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tailproof.loading import resizing
from tailproof.loading.resizing import fit, shorten


def resized_as_a_whole(image, size):
    """The definition: Pillow resizes the whole image, then the centre is cropped."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    new = max(size, int(height * scale)), max(size, int(width * scale))
    bands = [
        np.asarray(Image.fromarray(band).resize(new[::-1], Image.Resampling.BICUBIC))
        for band in np.moveaxis(image, 2, 0)
    ]
    top, left = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return np.stack(bands, axis=2)[top : top + size, left : left + size]


def noise(height, width, channels=3, *, bands=False):
    generator = np.random.default_rng([height, width])
    if bands:
        return generator.normal(0, 500, (height, width, channels)).astype(np.float32)
    return generator.integers(0, 256, (height, width, channels), dtype=np.uint8)


@given(
    shorter=st.integers(1, 60),
    ratio=st.floats(1, 40),
    tall=st.booleans(),
    channels=st.sampled_from([1, 3]),
    size=st.integers(1, 40),
    bands=st.booleans(),
)
def test_the_pixels_are_those_of_the_whole_image_resized(
    shorter, ratio, tall, channels, size, bands
):
    sides = (shorter, int(shorter * ratio))
    image = noise(*(sides[::-1] if tall else sides), channels, bands=bands)
    result, expected = fit(image, size), resized_as_a_whole(image, size)
    assert result.dtype == image.dtype and np.array_equal(result, expected)


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (2, 3000), (3000, 2), (1, 700), (700, 1)])
@pytest.mark.parametrize("size", [8, 32])
def test_thin_pictures(shape, size):
    image = noise(*shape)
    assert np.array_equal(fit(image, size), resized_as_a_whole(image, size))


@pytest.mark.parametrize("shape", [(300, 9000), (9000, 300), (1100, 5000), (5000, 1100)])
def test_large_strips_are_reduced(shape):
    image = noise(*shape)
    assert np.array_equal(fit(image, 64), resized_as_a_whole(image, 64))


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 20_000), (20_000, 1), (3, 200_000)])
def test_memory_does_not_grow_with_the_length(shape):
    image = noise(*shape)
    tracemalloc.start()
    result = fit(image, 224)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.shape == (224, 224, 3)
    assert peak < 20 * 2**20  # the whole image would be 224 × 4,480,000 pixels


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 2), (7, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_smaller_than_the_crop_are_enlarged(shape, channels):
    image = noise(*shape, channels)
    result = fit(image, 16)
    assert result.shape == (16, 16, channels)
    assert np.array_equal(result, resized_as_a_whole(image, 16))
    assert shape != (1, 1) or (result == image).all()


def test_only_the_middle_of_the_longest_images_is_transformed():
    for shape in ((1, 100), (100, 1), (30, 3000), (7, 5), (1, 1)):
        image = noise(*shape)
        assert np.array_equal(shorten(image), image)
    line = noise(1, 3000)
    assert np.array_equal(shorten(line), line[:, 1450:1550])
    assert np.array_equal(shorten(noise(3000, 2)), noise(3000, 2)[1400:1600])


@given(
    shorter=st.integers(2, 90),
    ratio=st.floats(1, 4),
    tall=st.booleans(),
    channels=st.sampled_from([1, 3]),
    size=st.integers(1, 60),
    strip=st.integers(1, 3000),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)
def test_a_large_image_has_the_pixels_of_a_small_one(
    shorter, ratio, tall, channels, size, strip, interpolation
):
    sides = (max(shorter, int(shorter * ratio)), shorter)
    image = noise(*(sides if tall else sides[::-1]), channels)
    with mock.patch.multiple(resizing, LARGE=0, STRIP=strip):
        fitted = fit(image, size, interpolation)
    np.testing.assert_array_equal(fitted, fit(image, size, interpolation))
