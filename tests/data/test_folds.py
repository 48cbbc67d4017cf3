"""Folds: every sample is tested once, whole groups, and small classes are learnt where possible."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.folds import deal_folds
from tailproof.data.split_advice import find_fault
from tailproof.data.split_assignment import assign_splits, keep_classes
from tailproof.runtime.errors import TailproofError

NAMES = [f"c{number}" for number in range(12)]


def frame(labels, groups, pools=None):
    ids = [f"s{number:04d}" for number in range(len(labels))]
    pools = pools or [None] * len(labels)
    return pd.DataFrame({"sample_id": ids, "class": labels, "group": groups, "pool": pools})


def config(index, of, **fields):
    splits = {"fold": {"index": index, "of": of}}
    return Data.model_validate({"source": {"name": "digits"}, "splits": splits, **fields})


@st.composite
def collections(draw, one_class_per_group=True):
    """Samples of a long tail, in groups of one to four."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=3, max_size=12))
    group_sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    labels = ["c0"] * 20 + np.repeat(NAMES[: len(sizes)], sizes).tolist()
    if not one_class_per_group:
        labels = draw(st.permutations(labels))
    groups, start = [], 0
    while len(groups) < len(labels):
        size = group_sizes[start % len(group_sizes)]
        if one_class_per_group:
            size = min(size, labels[len(groups) :].count(labels[len(groups)]))
        groups += [f"g{start}"] * size
        start += 1
    return frame(labels, groups[: len(labels)])


@settings(max_examples=12)
@given(
    samples=st.one_of(collections(), collections(one_class_per_group=False)),
    of=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_the_folds_test_every_sample_once_and_whole_groups(samples, of, seed):
    names = sorted(samples["class"].unique())
    used = [
        assign_splits(samples, "class", names, config(index, of, seed=seed)) for index in range(of)
    ]
    tested = pd.concat([splits[splits == "test"] for splits in used])
    assert sorted(tested.index) == sorted(samples.index) and tested.index.is_unique
    for splits in used:
        assert sorted(splits.index) == sorted(samples.index) and splits.index.is_unique
        assert set(splits) <= set(SPLITS)
        assert (splits.groupby(samples["group"]).nunique() == 1).all()
        others = samples.loc[splits.index[splits != "test"]]
        assert set(samples.loc[splits == "train", "class"]) == set(others["class"])


@settings(max_examples=12)
@given(samples=collections(), of=st.integers(2, 6), seed=st.integers(0, 9))
def test_a_class_of_several_groups_is_learnt_in_every_fold(samples, of, seed):
    dealt = deal_folds(samples, "class", of, np.random.default_rng(seed))
    pairs = samples.assign(fold=dealt)
    groups = pairs.groupby("class")["group"].nunique()
    assert (pairs.groupby("class")["fold"].nunique() == groups.clip(upper=of)).all()
    sizes = pairs.drop_duplicates("group")["fold"].value_counts()
    assert sizes.max() - sizes.reindex(range(of), fill_value=0).min() <= 1
    for index in range(of):
        names = sorted(samples["class"].unique())
        used = assign_splits(samples, "class", names, config(index, of, seed=seed))
        assert set(groups.index[groups > 1]) <= set(samples.loc[used == "train", "class"])


def test_the_tail_of_a_real_collection_is_cross_fitted():
    sizes = [number % 5 + 1 for number in range(40)]
    labels = [f"c{number:02d}" for number, size in enumerate(sizes) for _ in range(size)]
    samples = frame(labels, [f"g{number}" for number in range(len(labels))])
    names = sorted(set(labels))
    for index in range(5):
        used = assign_splits(samples, "class", names, config(index, 5))
        assert find_fault(samples, "class", names, used, config(index, 5)) is None
        assert set(used) == set(SPLITS) and (used == "test").sum() == 24
        alone = set(labels) - set(samples.loc[used == "train", "class"])
        assert all(labels.count(name) == 1 for name in alone)


def test_the_other_splits_are_as_large_as_without_folds():
    samples = frame(["c0"] * 500 + ["c1"] * 500, [f"g{number}" for number in range(1000)])
    used = assign_splits(samples, "class", ["c0", "c1"], config(0, 5))
    sizes = used.value_counts()
    assert sizes.to_dict() == {
        "test": 200, "tune": 40, "dev": 40, "val": 72, "calib": 72, "train": 576
    }  # fmt: skip


def test_the_test_set_of_a_fold_is_not_subsampled():
    samples = frame(["c0"] * 100 + ["c1"] * 100, [f"g{number}" for number in range(200)])
    tail = {"kind": "step", "imbalance": 4.0}
    used = assign_splits(samples, "class", ["c0", "c1"], config(0, 5, long_tail=tail))
    trained = samples.loc[used[used == "train"].index, "class"].value_counts()
    assert trained["c0"] > 3 * trained["c1"]
    assert samples.loc[used[used == "test"].index, "class"].value_counts()["c1"] == 20


def test_official_sets_are_not_cross_fitted():
    samples = frame(["c0", "c1"] * 20, range(40), ["train", "held_out"] * 20)
    with pytest.raises(TailproofError, match=r"data\.splits\.fold"):
        assign_splits(samples, "class", ["c0", "c1"], config(0, 5))


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["c0"] * 3 + ["c1"] * 3, range(6)),  # too few for the other splits
        (["c0"] * 30 + ["c1"] * 2, [*range(30), 30, 30]),  # a fold would learn one class
    ],
)
def test_folds_that_cannot_be_trained_are_refused(labels, groups):
    samples = frame(labels, [str(group) for group in groups])
    faults = []
    for index in range(5):
        used = assign_splits(samples, "class", ["c0", "c1"], config(index, 5))
        faults.append(find_fault(samples, "class", ["c0", "c1"], used, config(index, 5)))
    assert any(faults)


def test_a_refusal_names_folds_only_if_they_work():
    pools = ["train"] * 58 + ["held_out"] * 2
    labels = ["c0", "c1", "c2"] * 20
    samples, few = frame(labels, range(60), pools), frame(labels[:6], range(6))
    faults = []
    for collection in (samples, few):
        data = Data(source={"name": "digits"})
        used = assign_splits(collection, "class", NAMES[:3], data)
        faults.append(find_fault(collection, "class", NAMES[:3], used, data))
    assert "tailproof folds" in faults[0] and "data.source" in faults[0]
    assert faults[1] and "tailproof folds" not in faults[1]


def test_train_keeps_a_class_whose_groups_have_others():
    samples = frame(["c0", "c1", "c0", "c2", "c0"], ["a", "a", "b", "b", "c"])
    assigned = pd.Series(["val", "val", "train", "train", "train"])
    kept = keep_classes(assigned, samples, "class", "train")
    assert kept.tolist() == ["train"] * 5


@pytest.mark.parametrize(
    "fold", [{"index": 5, "of": 5}, {"index": 0, "of": 1}, {"index": -1, "of": 3}]
)
def test_a_fold_has_a_number_below_that_of_folds(fold):
    with pytest.raises(ValidationError):
        config(**fold)
