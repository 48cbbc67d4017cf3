"""Which known picture a picture is a copy of, whatever else is asked or known."""

import numpy as np
import pytest

from tailproof.data.copy_search import KnownPictures
from tailproof.data.fingerprint_table import max_distance_for
from tailproof.data.grey_thumbnail import FLAT_VALUE, SIDE, thumbnail
from tailproof.data.near_duplicates import MIN_CORRELATION
from tailproof.data.picture_hashes import MAX_DISTANCE, hash_of, spectra_of, windows
from tests.data.test_near_duplicates import compress, crop, mirror, photograph, resize

PICTURES = 60
CHANGES = {"compressed": (compress, 30), "resized": (resize, 48), "mirrored": (mirror, None),
           "cropped": (crop, 0.95)}  # fmt: skip


@pytest.fixture(scope="module")
def photographs():
    rng = np.random.default_rng(5)
    return [photograph(rng) for _ in range(PICTURES)]


@pytest.fixture(scope="module")
def originals(photographs):
    return np.stack([thumbnail(picture) for picture in photographs])


@pytest.fixture(scope="module")
def copies(photographs):
    """Copies of every kind, of all photographs: [kinds, PICTURES, SIDE, SIDE]."""
    rng = np.random.default_rng(1)
    return np.stack(
        [
            [thumbnail(change(picture, rng, by)) for picture in photographs]
            for change, by in CHANGES.values()
        ]
    )


def test_copies_of_every_kind_name_their_picture_and_strangers_none(originals, copies):
    known = KnownPictures(originals[: PICTURES // 2], np.zeros(PICTURES // 2, int))
    found = known.copies(copies.reshape(-1, SIDE, SIDE))
    assert (found.asked % PICTURES == found.known).all()
    assert len(found) >= 0.97 * len(CHANGES) * PICTURES // 2
    assert (found.correlation >= MIN_CORRELATION).all()
    kinds = list(CHANGES)
    for kind in kinds:
        of_kind = found.asked // PICTURES == kinds.index(kind)
        assert found.mirrored[of_kind].all() if kind == "mirrored" else True
        assert (found.scale[of_kind] < 1).mean() > 0.5 if kind == "cropped" else True


def test_the_answer_does_not_depend_on_other_questions_and_parts(originals, copies):
    parts = np.arange(PICTURES) % 3
    asked = copies[3]
    known = KnownPictures(originals, parts)
    together = known.copies(asked)
    answers = set(zip(together.asked.tolist(), together.known.tolist(), strict=True))
    for index in (0, 1, 2, 33):
        alone = known.copies(asked[index : index + 1])
        assert {(index, one) for one in alone.known.tolist()} == {
            pair for pair in answers if pair[0] == index
        }
    repeated = known.copies(np.repeat(asked[:1], 300, axis=0))
    assert len(repeated) == 300 * sum(pair[0] == 0 for pair in answers)


def test_many_copies_in_one_part_hide_none_in_another(originals):
    rng = np.random.default_rng(2)
    noise = rng.integers(-4, 5, (400, SIDE, SIDE))
    burst = np.clip(originals[0].astype(int) + noise, 0, 255).astype(np.uint8)
    known = KnownPictures(np.concatenate([burst, originals[1:]]), np.array([0] * 399 + [1] * 60))
    found = known.copies(originals[:1])
    assert sorted(found.known.tolist())[-1] == 399 and len(found) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_known_and_nothing_asked(originals, count):
    known = KnownPictures(originals[:count], np.zeros(count, int))
    assert len(known.copies(originals[:0])) == 0
    assert len(known.copies(originals[5:7])) == 0
    flat = np.full((1, SIDE, SIDE), FLAT_VALUE, np.uint8)
    assert len(known.copies(flat)) == 0


def test_hashes_of_look_alikes_may_differ_less(originals):
    spectra = spectra_of(originals, np.arange(PICTURES))
    hashes = hash_of(spectra, windows()[0])
    assert max_distance_for(spectra, hashes, MIN_CORRELATION) == MAX_DISTANCE
    assert max_distance_for(spectra, np.full(PICTURES, hashes[0]), 1.1) == -1
