import cv2
import numpy as np
import pytest

from tailproof.inspection.odd_images import KINDS, odd_images, rules_of, summarise


def photographs(count: int, size=(48, 64), seed=0) -> list[np.ndarray]:
    """Pictures with edges, textures and different exposures."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        coarse = rng.uniform(0, 1, (rng.integers(3, 9), rng.integers(3, 9), 3))
        picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)
        picture += rng.normal(0, 0.08, (*size, 3))
        x, y = rng.integers(5, 30, 2)
        picture[x : x + 12, y : y + 12] = rng.uniform(0, 1, 3)
        picture = rng.uniform(20, 60) + rng.uniform(110, 190) * picture
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


def found(images: list[np.ndarray]) -> dict[int, str]:
    rules = rules_of(np.array([summarise(image) for image in images]))
    return {odd.index: odd.kind for odd in odd_images(rules)}


def spoiled(image: np.ndarray) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(9).integers(0, 3, image.shape)
    return {
        "blank": (120 + noise).astype(np.uint8),
        "dark": (image // 12 + noise).astype(np.uint8),
        "overexposed": np.maximum(image // 2 + 200, 236 + noise).clip(0, 255).astype(np.uint8),
        "blurred": cv2.GaussianBlur(image, (0, 0), 4),
        "small": image[:20, :24],
        "large": cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST),
        "elongated": np.tile(image[:24], (1, 2, 1)),
    }


def test_each_kind_is_found_and_nothing_else():
    images = photographs(150)
    planted = spoiled(photographs(1, seed=1)[0])
    assert list(planted) == list(KINDS)
    assert found([*images, *planted.values()]) == dict(enumerate(KINDS, start=150))


def test_grey_pictures_are_measured_like_coloured_ones():
    images = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in photographs(150)]
    planted = spoiled(photographs(1, seed=1)[0]).values()
    images += [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in planted]
    assert set(found(images).values()) == set(KINDS)


def test_a_third_of_faulty_images_is_still_found():
    images = photographs(100)
    blank = [np.full_like(images[0], level) for level in range(50)]
    assert set(found([*images, *blank])) == set(range(100, 150))


@pytest.mark.parametrize("kind", ["dark", "overexposed", "elongated"])
def test_what_most_images_are_is_not_odd(kind):
    images = [spoiled(image)[kind] for image in photographs(60)]
    assert kind not in found(images).values()


def test_pictures_of_the_same_size_and_shape_need_no_spread():
    images = [np.random.default_rng(seed).integers(0, 255, (8, 8), np.uint8) for seed in range(9)]
    assert found(images) == {}


def test_portraits_among_landscapes_are_not_elongated():
    images = photographs(60, (36, 64)) + photographs(12, (64, 36))
    assert "elongated" not in found(images).values()


def test_arrays_of_bands_are_blank_only_without_any_structure():
    rng = np.random.default_rng(0)
    bands = [rng.normal(0, 1e-6, (16, 16, 4)).astype(np.float32) for _ in range(20)]
    bands += [np.full((16, 16, 4), 3.5, np.float32), np.zeros((80, 80, 4), np.float32)]
    assert found(bands) == {20: "blank", 21: "blank"}
    bands[21] = rng.normal(0, 1e-6, (80, 80, 4)).astype(np.float32)
    assert found(bands) == {20: "blank", 21: "large"}


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1, 3), (2, 2, 3)])
def test_the_smallest_images_have_a_summary(shape):
    summary = summarise(np.random.default_rng(0).integers(0, 255, shape, np.uint8))
    assert np.isfinite(summary).all()


def test_large_images_are_measured_at_a_bounded_size():
    image = photographs(1, (480, 640))[0]
    assert summarise(image).sharpness == pytest.approx(
        summarise(cv2.resize(image, (256, 192), interpolation=cv2.INTER_AREA)).sharpness, rel=0.1
    )
