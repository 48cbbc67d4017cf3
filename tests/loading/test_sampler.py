"""The samplers: shares of classes and rows, the reader's memory, and what a repeated row gets."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.augmentation import Augmentation
from tailproof.loading import Loader, Split
from tailproof.loading.sampler import EXPONENTS, Sampler, epoch_order, random_keys
from tests.loading.test_loader_ranks import write_shards

GROUPS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def long_tail(rows: int, seed: int = 0) -> np.ndarray:
    """Return labels of a few large classes and many small ones, in random order."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.minimum(rng.zipf(1.5, rows), 30) - 1)


@settings(max_examples=150)
@given(
    groups=GROUPS,
    name=st.sampled_from(list(EXPONENTS)),
    seed=st.integers(0, 3),
    epoch=st.integers(1, 5),
    block=st.integers(1, 200),
)
def test_an_epoch_has_the_rows_of_train_in_the_shares_of_the_sampler(
    groups, name, seed, epoch, block
):
    labels = long_tail(sum(groups), seed)
    sampler = Sampler(name, labels, groups, block, seed)
    order = sampler.order(epoch)
    assert len(order) == len(labels)
    assert (order == Sampler(name, labels, groups, block, seed).order(epoch)).all()
    counts = np.bincount(order, minlength=len(labels))
    assert (counts == sampler.counts(epoch)).all()
    sizes = np.bincount(labels)
    present = np.flatnonzero(sizes)
    share = sizes[present] ** EXPONENTS[name] / (sizes[present] ** EXPONENTS[name]).sum()
    drawn = np.bincount(labels[order], minlength=len(sizes))[present]
    assert (abs(drawn - len(labels) * share) < 1 + 1e-9).all()
    for label in present:
        assert np.ptp(counts[labels == label]) <= 1


@given(groups=GROUPS, block=st.integers(1, 200), seed=st.integers(0, 3), epoch=st.integers(1, 5))
def test_each_row_once_is_the_order_without_a_sampler(groups, block, seed, epoch):
    plain = epoch_order(groups, seed, epoch, block)
    labels = long_tail(sum(groups))
    assert (Sampler("instance", labels, groups, block, seed).order(epoch) == plain).all()
    level = np.arange(len(labels))
    for name in ("class_aware", "square_root"):
        assert (Sampler(name, level, groups, block, seed).order(epoch) == plain).all()


class CountingSplit(Split):
    """A split that lists the row groups that it reads."""

    def _read(self, group):
        self.read.append(group)
        return super()._read(group)


@settings(max_examples=30, deadline=None)
@given(
    shards=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=4),
    block=st.integers(1, 60),
    epoch=st.integers(1, 5),
)
def test_a_reader_reads_each_row_group_once_an_epoch(shards, block, epoch):
    with TemporaryDirectory() as folder:
        split = CountingSplit(write_shards(Path(folder), shards), "train")
        split.read, split.block_rows = [], block
        split.labels["class"] = long_tail(len(split))
        loader = Loader(
            split,
            batch_size=8,
            image_size=None,
            normalization=split.manifest["normalization"],
            augmentation=Augmentation(),
            sampler="class_aware",
        )
        list(loader.epoch(1))
        assert len(split._kept) <= block
        split.read.clear()
        split._cache.clear()
        list(loader.epoch(epoch))
        assert len(split.read) == len(set(split.read))


def test_the_mean_of_the_draws_is_the_share_of_the_class():
    labels = np.repeat([0, 1, 2], [70, 20, 7])
    drawn = np.mean(
        [
            np.bincount(labels[Sampler("square_root", labels, [97], 97, 0).order(epoch)])
            for epoch in range(1, 2001)
        ],
        axis=0,
    )
    roots = np.sqrt([70, 20, 7])
    assert np.allclose(drawn, 97 * roots / roots.sum(), atol=0.05)


def test_small_classes_are_drawn_throughout_a_streamed_epoch():
    """With 40 blocks, a class of three rows would otherwise be drawn in three of them."""
    rows, block = 40_000, 1000
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [39_900, 97, 3]))
    sampler = Sampler("class_aware", labels, [250] * 160, block, 0)
    assert set(labels[sampler.kept]) == {1, 2}
    drawn = labels[sampler.order(1)].reshape(-1, block)
    for label in range(3):
        assert (abs((drawn == label).mean(1) - 1 / 3) < 0.06).all()
    assert rows == drawn.size


@given(order=st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_a_repeated_row_has_another_key_each_time(order):
    keys = random_keys(np.array(order), 10)
    assert (keys % 10 == order).all()
    assert len(set(keys.tolist())) == len(order)
    assert all(key == row for key, row in zip(keys, order, strict=True) if order.count(row) == 1)


POLICIES = {
    "batch-wise": Augmentation(crop_padding=3, flip=True),
    "albumentations": Augmentation(
        albumentations=[{"name": "RandomBrightnessContrast", "options": {"p": 1.0}}]
    ),
}


def of_class_aware(split: Split, policy: Augmentation, **options) -> list:
    loader = Loader(
        split,
        batch_size=16,
        image_size=None,
        normalization=split.manifest["normalization"],
        augmentation=policy,
        sampler="class_aware",
        **options,
    )
    batches = list(loader.epoch(1))
    loader.close()
    return batches


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_repeated_image_is_augmented_differently_from_memory_and_streamed(
    digits, policy, workers
):
    split = Split(digits, "train")
    cached = of_class_aware(split, policy, memory_budget=2**30)
    split.block_rows = 100  # a small block, so that the rows of small classes are kept
    whole, streamed = (
        of_class_aware(split, policy, memory_budget=memory, workers=workers)
        for memory in (2**30, 0)
    )
    for one, other in zip(whole, streamed, strict=True):
        assert (one.rows == other.rows).all() and torch.equal(one.inputs, other.inputs)
    rows = np.concatenate([batch.rows for batch in cached])
    images = np.concatenate([batch.inputs for batch in cached])
    counts = np.bincount(rows)
    assert counts.max() >= 5
    repeated = images[rows == counts.argmax()]
    assert len(np.unique(repeated.reshape(len(repeated), -1), axis=0)) > len(repeated) / 2


def test_a_reader_of_a_streamed_split_keeps_the_rows_of_small_classes(tmp_path):
    split = Split(write_shards(Path(tmp_path), [[4, 4], [4]]), "train")
    split.keep(np.array([1, 5, 11]))
    expected = [split.encoded(row) for row in (1, 5, 11)]
    assert not split._cache
    split.keep(np.empty(0, np.int64))
    assert [split.encoded(row) for row in (1, 5, 11)] == expected and split._cache
