"""Classes of a few images: six disjoint splits, or a refusal whose advice works."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.split_advice import find_fault
from tailproof.data.split_assignment import assign_splits
from tailproof.data.splits import drop_shared_groups

ADVICE = re.compile(r"set data\.(\w+(?:\.\w+)?) to ([\d.]+)|add (\d+) (?:image|group)")


def frame(sizes, pools=None, group_size=1):
    labels = np.repeat([f"c{number:02d}" for number in range(len(sizes))], sizes)
    ids = [f"s{number:04d}" for number in range(len(labels))]
    groups = [f"g{number // group_size}" for number in range(len(labels))]
    pools = pools or [None] * len(labels)
    return pd.DataFrame({"sample_id": ids, "class": labels, "group": groups, "pool": pools})


def names_of(samples):
    return sorted(samples["class"].unique())


def attempt(samples, config):
    used = assign_splits(samples, "class", names_of(samples), config)
    return used, find_fault(samples, "class", names_of(samples), used, config)


def check_splits(samples, used):
    assert sorted(used.index) == sorted(samples.index) and used.index.is_unique
    assert set(used) == set(SPLITS)
    by_split = samples.assign(split=used)
    assert (by_split.groupby("group")["split"].nunique() == 1).all()
    assert set(by_split.loc[by_split["split"] == "train", "class"]) == set(samples["class"])


def follow(samples, config, fault):
    """Return the samples and the configuration after doing what a refusal advises."""
    field, value, more = ADVICE.search(fault).groups()
    if more is None:
        value = int(value) if field == "seed" else float(value)
        return samples, config.model_copy(update={field: value})
    grown = pd.concat([samples, samples.iloc[[0] * int(more)]], ignore_index=True)
    new = grown.index[-int(more) :]
    for column in ("sample_id", "group"):
        grown.loc[new, column] = [f"new-{column}-{number}" for number in new]
    return grown, config


@settings(max_examples=10)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=14),
    group_size=st.sampled_from([1, 1, 1, 2, 3]),
    seed=st.integers(0, 9),
    test_fraction=st.sampled_from([0.05, 0.3, 0.5, 0.9]),
)
def test_small_classes_are_split_or_the_advice_works(sizes, group_size, seed, test_fraction):
    samples = frame(sizes, group_size=group_size)
    config = Data(source={"name": "digits"}, seed=seed, test_fraction=test_fraction)
    used, fault = attempt(samples, config)
    for _ in range(3):
        if fault is None:
            break
        assert ADVICE.search(fault) or group_size > 1, fault
        if not ADVICE.search(fault):
            return
        samples, config = follow(samples, config, fault)
        used, fault = attempt(samples, config)
    assert fault is None, fault
    check_splits(samples, used)


@pytest.mark.parametrize(
    "sizes",
    [
        [number % 5 + 1 for number in range(40)],  # the tail of iNaturalist or FungiTastic
        [1000, 1],
        [1] + [20] * 5,
        [9] * 3,
        [1, 1, 1, 60],
    ],
)
def test_the_defaults_split_tails_as_people_have_them(sizes):
    samples = frame(sizes)
    used, fault = attempt(samples, Data(source={"name": "digits"}))
    assert fault is None
    check_splits(samples, used)


@pytest.mark.parametrize("with_val", [True, False])
def test_official_splits_stay_as_they_are_however_small(with_val):
    pools = ["train", "train", "train", "held_out", "val" if with_val else "train"] * 6
    samples = frame([10, 10, 10], pools)
    used, fault = attempt(samples, Data(source={"name": "digits"}))
    assert fault is None
    expected = {"held_out": {"tune", "dev", "test"}, "train": {"train", "calib"}}
    if with_val:
        expected["val"] = {"val"}
    else:
        expected["train"].add("val")
    for pool, splits in expected.items():
        assert set(used[samples["pool"] == pool]) == splits


def test_a_pool_that_is_too_small_says_how_much_it_needs():
    samples = frame([6, 6], ["train"] * 5 + ["held_out"] + ["train"] * 5 + ["held_out"])
    _, fault = attempt(samples, Data(source={"name": "digits"}))
    assert re.search(r"the test set needs at least 3 images.* found 2: add 1 image", fault)


def test_a_group_in_every_set_leaves_the_published_ones_whole():
    pools = ["train", "train", "val", "held_out"] * 10
    samples = frame([20, 20], pools).assign(group=[f"g{n % 16}" for n in range(40)])
    kept, dropped = drop_shared_groups(samples)
    assert (kept["pool"] == "held_out").sum() == 10
    assert dropped["shared_groups_dropped"] == 40 - len(kept)
    assert (kept.groupby("group")["pool"].nunique() == 1).all()
