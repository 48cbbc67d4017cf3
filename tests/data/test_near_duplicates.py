"""Near duplicates: what is found, what is not, and that time and clusters stay small."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tailproof.data import near_duplicates as near
from tailproof.data import picture_hashes as hashes
from tailproof.data.duplicate_pairs import Pairs, clusters_of, read_pairs, write_pairs
from tailproof.data.grey_thumbnail import FLAT_VALUE, SIDE, thumbnail
from tailproof.data.near_duplicates import find_pairs, threshold_for, without_chains

PICTURES = 80
SIZE = 96


def photograph(rng: np.random.Generator, side: int = SIZE) -> np.ndarray:
    """Return colour noise with the spectrum of natural pictures: amplitudes fall with frequency."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    phases = rng.normal(size=(3, side, side)) + 1j * rng.normal(size=(3, side, side))
    planes = np.fft.ifft2(phases / frequency).real
    planes[1:] = planes[:1] + 0.3 * planes[1:]
    planes /= 3 * planes.std()
    return np.clip(128 + 100 * planes, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def crop(pixels, rng, share):
    side = round(share * len(pixels))
    top, left = rng.integers(0, len(pixels) - side + 1, 2)
    return pixels[top : top + side, left : left + side]


def compress(pixels, _, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resize(pixels, _, side):
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def mirror(pixels, _rng, _):
    return pixels[:, ::-1].copy()


def scale_grey(pixels, _, factor):
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


def add_contrast(pixels, _, factor):
    return np.clip((pixels - 128.0) * factor + 128, 0, 255).astype(np.uint8)


def rotate(pixels, _, degrees):
    turned = np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC))
    margin = len(pixels) // 16
    return turned[margin:-margin, margin:-margin]


@pytest.fixture(scope="module")
def photographs():
    rng = np.random.default_rng(0)
    return [photograph(rng) for _ in range(PICTURES)]


@pytest.fixture(scope="module")
def originals(photographs):
    return np.stack([thumbnail(each) for each in photographs])


@pytest.mark.parametrize(
    ("change", "by", "share"),
    [
        (compress, 50, 1.0),
        (compress, 20, 1.0),
        (resize, 48, 1.0),
        (resize, 200, 1.0),
        (mirror, None, 1.0),
        (scale_grey, 0.6, 1.0),
        (scale_grey, 1.4, 0.97),
        (add_contrast, 1.5, 0.97),
        (crop, 0.95, 0.99),
        (crop, 0.9, 0.85),
        (rotate, 2, 0.9),
    ],
)
def test_copies_of_a_kind_are_found_and_no_others(photographs, originals, change, by, share):
    rng = np.random.default_rng(1)
    copies = np.stack([thumbnail(change(each, rng, by)) for each in photographs])
    pairs = find_pairs(np.concatenate([originals, copies]), near.MIN_CORRELATION)
    right = pairs.second - pairs.first == PICTURES
    assert right.sum() >= share * PICTURES
    assert right.all()
    assert pairs.mirrored.all() if change is mirror else not pairs.mirrored.any()
    if change is crop:
        assert np.median(pairs.scale) <= 0.95


def test_several_changes_at_once_are_found(photographs, originals):
    rng = np.random.default_rng(1)
    copies = [
        thumbnail(mirror(compress(crop(scale_grey(each, rng, 0.8), rng, 0.95), rng, 40), rng, None))
        for each in photographs
    ]
    pairs = find_pairs(np.concatenate([originals, np.stack(copies)]), near.MIN_CORRELATION)
    assert len(pairs) >= 0.97 * PICTURES and (pairs.second - pairs.first == PICTURES).all()


def exhaustive(thumbnails: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the correlation of each pair of pictures: the best of all windows and mirrorings."""
    count = len(thumbnails)
    spectra = hashes.spectra_of(thumbnails, np.arange(count))
    first, second = np.triu_indices(count, 1)
    best = np.full(len(first), -1.0)
    for number in range(len(hashes.fine_windows())):
        for one, other in ((first, second), (second, first)):
            for mirrored in (False, True):
                others = hashes.compared_whole(spectra[other], np.full(len(first), mirrored))
                correlation = hashes.correlation_of(spectra[one], number, others)
                best = np.maximum(best, correlation)
    return dict(zip(zip(first.tolist(), second.tolist(), strict=True), best, strict=True))


def test_the_search_finds_what_comparing_all_finds(photographs):
    rng = np.random.default_rng(2)
    shown = [*photographs[:20], *(crop(each, rng, 0.93) for each in photographs[:20])]
    thumbnails = np.stack([thumbnail(each) for each in shown])
    pairs = find_pairs(thumbnails, near.MIN_CORRELATION)
    correlation = exhaustive(thumbnails)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    wanted = {pair for pair, value in correlation.items() if value >= near.MIN_CORRELATION}
    assert found <= wanted and len(found) >= 0.95 * len(wanted)


def test_the_same_pictures_give_the_same_pairs(originals):
    doubled = np.concatenate([originals, originals])
    one, again = (find_pairs(doubled, 0.95) for _ in range(2))
    assert one.first.tolist() == list(range(PICTURES)) and (one.correlation > 0.999).all()
    for name in ("first", "second", "correlation", "mirrored", "scale"):
        assert np.array_equal(getattr(one, name), getattr(again, name))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_collections_too_small_to_compare(originals, count):
    assert len(find_pairs(originals[:count], threshold_for(originals[:count]))) == 0


def test_blank_frames_are_copies_of_nothing():
    rng = np.random.default_rng(0)
    black = rng.integers(0, 3, (200, 120, 160, 3), np.uint8)
    white = np.full((50, 64, 64), 255, np.uint8)
    thumbnails = np.stack([thumbnail(each) for each in [*black, *white]])
    assert (thumbnails == FLAT_VALUE).all()
    assert len(find_pairs(thumbnails, near.MIN_CORRELATION)) == 0


def test_digits_look_alike_but_are_no_copies():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[:900] * 255 / 16).astype(np.uint8)
    shown = np.stack([thumbnail(each) for each in images])
    threshold = threshold_for(shown)
    pairs, _ = without_chains(find_pairs(shown, threshold), len(shown))
    assert threshold > 0.95
    assert np.array_equal(digits.target[pairs.first], digits.target[pairs.second])
    sizes = np.bincount(clusters_of(pairs, len(shown)))
    assert sizes.max() <= near.LARGE_CLUSTER and sizes[sizes > 1].sum() < 0.05 * len(shown)


def test_bursts_do_not_hide_other_copies(originals):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, (40, SIDE, SIDE))
    burst = np.clip(originals[:1] + noise, 0, 255).astype(np.uint8)
    assert threshold_for(np.concatenate([originals, burst])) == near.MIN_CORRELATION


def test_a_burst_of_any_length_is_one_cluster_with_few_pairs(originals):
    frames = 2_500
    rng = np.random.default_rng(0)
    noise = rng.integers(-6, 7, (frames, SIDE, SIDE))
    burst = np.clip(originals[:1].astype(int) + noise, 0, 255).astype(np.uint8)
    shown = np.concatenate([originals[1:], burst])
    pairs, _ = without_chains(find_pairs(shown, near.MIN_CORRELATION), len(shown))
    sizes = np.bincount(clusters_of(pairs, len(shown)))
    assert sizes.max() >= 0.999 * frames
    assert len(pairs) < 60 * frames, "a pair per frame and link, not per pair of frames"


def chain(correlations):
    count = len(correlations)
    return Pairs(
        np.arange(count),
        np.arange(1, count + 1),
        np.asarray(correlations, np.float32),
        np.zeros(count, bool),
        np.ones(count),
    )


def test_look_alikes_do_not_chain_into_a_large_cluster():
    rng = np.random.default_rng(0)
    pairs, look_alikes = without_chains(chain(rng.uniform(0.89, 0.97, 1000)), 1001)
    assert look_alikes == 1001
    assert np.bincount(clusters_of(pairs, 1001)).max() <= near.LARGE_CLUSTER
    short, none = without_chains(chain([0.9] * (near.LARGE_CLUSTER - 1)), 1001)
    assert none == 0 and len(short) == near.LARGE_CLUSTER - 1


def test_the_same_picture_stays_together_however_often():
    pairs, _ = without_chains(chain([0.99] * 500 + [0.9] * 500), 1001)
    sizes = np.bincount(clusters_of(pairs, 1001))
    assert sizes.max() == 501 and len(pairs) == 500


def test_pairs_of_unknown_samples_are_left_out(tmp_path):
    import pyarrow as pa

    ids = pa.array(["a", "b", "c"])
    write_pairs(tmp_path / "pairs.parquet", chain([0.9, 0.95]), ids, {"pictures": 3})
    pairs, facts = read_pairs(tmp_path / "pairs.parquet", ["c", "b"])
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])
    assert pairs.correlation.tolist() == pytest.approx([0.95]) and facts == {"pictures": 3}


@pytest.mark.parametrize("shape", [(5, 5), (23, 40, 3), (3000, 2000, 3), (64, 64, 6), (1, 400, 3)])
def test_thumbnails_of_any_shape(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    if shape[-1] == 6:
        pixels = pixels.astype(np.float32) / 7
    small = thumbnail(pixels)
    assert small.shape == (SIDE, SIDE) and small.dtype == np.uint8
    assert (small == thumbnail(pixels)).all() and abs(small.mean() - FLAT_VALUE) < 1


def test_thumbnails_of_large_pictures_are_those_of_small_ones(photographs):
    large = cv2.resize(photographs[0], (1500, 1500), interpolation=cv2.INTER_CUBIC)
    gap = thumbnail(large).astype(int) - thumbnail(photographs[0])
    assert np.abs(gap).mean() < 2
