from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.core.config.data import Data
from tailproof.core.config.splits import SPLITS
from tailproof.core.errors import TailproofError
from tailproof.core.files import read_json, read_parquet
from tailproof.data.splits import (
    assign,
    assign_pools,
    count_classes,
    drop_duplicates,
    prior_weights,
    profile_counts,
    split,
)


def frame(labels, groups=None, digests=None, pools=None):
    n = len(labels)
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(n)],
            "digest": digests if digests is not None else [f"d{i}" for i in range(n)],
            "group": groups if groups is not None else [f"s{i}" for i in range(n)],
            "pool": pools if pools is not None else [None] * n,
            "class": [f"c{label}" for label in labels],
        }
    )


def test_exponential_profile_gives_the_published_cifar_counts():
    counts = profile_counts(np.full(100, 500), "exponential", 100, None)
    assert counts.sum() == 10847
    assert (counts[0], counts[-1]) == (500, 5)
    # CIFAR-10-LT at imbalance 100 (Cui et al. 2019): 5000 … 50, 12,406 images
    ten = profile_counts(np.full(10, 5000), "exponential", 100, None)
    assert ten.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_step_profile_halves_the_classes():
    counts = profile_counts(np.full(10, 100), "step", 10, None)
    assert counts.tolist() == [100] * 5 + [10] * 5


@given(
    available=st.lists(st.integers(1, 400), min_size=1, max_size=30),
    imbalance=st.floats(1, 200),
    kind=st.sampled_from(["exponential", "step"]),
)
def test_default_n_max_fits_into_the_pool(available, imbalance, kind):
    available = np.array(available)
    counts = profile_counts(available, kind, imbalance, None)
    assert (counts <= available).all()
    assert (np.diff(counts) <= 0).all()


@settings(max_examples=60)
@given(data=st.data())
def test_groups_and_classes_are_shared_out_whole(data):
    n = data.draw(st.integers(12, 150))
    labels = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    groups = data.draw(st.lists(st.integers(0, n // 2), min_size=n, max_size=n))
    samples = frame(labels, [f"g{group}" for group in groups])
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    result = assign(samples, "class", {"val": 0.2, "calib": 0.1}, "train", rng)
    assert set(result) <= {"train", "val", "calib"}
    assert (samples.groupby("group")["sample_id"].count() > 0).all()
    together = pd.DataFrame({"group": samples["group"], "split": result})
    assert (together.groupby("group")["split"].nunique() == 1).all()


def test_shares_come_out_although_classes_are_tiny():
    labels = np.repeat(np.arange(40), 4)
    result = assign(
        frame(labels), "class", {"val": 0.1, "calib": 0.1}, "train", np.random.default_rng(0)
    )
    counts = result.value_counts()
    assert abs(counts["val"] - 16) <= 1 and abs(counts["calib"] - 16) <= 1
    assert (pd.crosstab(labels, result)["train"] > 0).all()


def test_duplicates_keep_the_held_out_copy_and_conflicts_lose_both():
    samples = frame(
        [0, 0, 1, 1, 2],
        digests=["a", "a", "b", "c", "c"],
        pools=["train", "held_out", "train", "train", "train"],
    )
    kept, dropped = drop_duplicates(samples, "class")
    assert kept["sample_id"].tolist() == ["s1", "s2"]
    assert dropped == {"duplicates_dropped": 1, "conflicting_dropped": 2}


def test_a_group_in_both_pools_is_held_out_whole():
    samples = frame([0, 0, 0], groups=["g", "g", "h"], pools=["train", "held_out", "train"])
    pools = assign_pools(samples, "class", 0.3, np.random.default_rng(0))
    assert pools.tolist() == ["held_out", "held_out", "train"]


@settings(max_examples=30)
@given(
    counts=st.lists(st.lists(st.integers(1, 30), min_size=4, max_size=4), min_size=6, max_size=6)
)
def test_weights_give_every_split_the_training_prior(counts):
    names = [f"c{i}" for i in range(4)]
    rows = [
        (name, split)
        for split, row in zip(SPLITS, counts, strict=True)
        for name, n in zip(names, row, strict=True)
        for _ in range(n)
    ]
    table = pd.DataFrame(rows, columns=["class", "split"])
    found = count_classes(table, "class", names)
    weights = prior_weights(table["split"], table["class"], found)
    prior = np.array(counts[0]) / sum(counts[0])
    for name in SPLITS:
        here = (table["split"] == name).to_numpy()
        assert weights[here].mean() == pytest.approx(1)
        share = table[here].assign(w=weights[here]).groupby("class")["w"].sum() / here.sum()
        assert np.allclose(share.to_numpy(), prior)
    assert np.allclose(weights[(table["split"] == "train").to_numpy()], 1)


def test_digits_are_split_disjointly_and_reproducibly(digits: Path, tmp_path):
    folder = digits.parent.parent
    splits = read_parquet(folder / "splits.parquet").to_pandas()
    samples = read_parquet(folder / "samples.parquet").to_pandas().set_index("sample_id")
    assert splits["sample_id"].is_unique and set(splits["split"]) == set(SPLITS)
    by_content = splits.assign(digest=samples.loc[splits["sample_id"], "digest"].to_numpy())
    assert by_content["digest"].is_unique
    config = Data(source={"name": "digits"}, profile={"kind": "exponential", "imbalance": 20})
    split(folder / "samples.parquet", config, tmp_path / "a.parquet", tmp_path / "a.json")
    assert (tmp_path / "a.parquet").read_bytes() == (folder / "splits.parquet").read_bytes()
    summary = read_json(tmp_path / "a.json")
    assert summary["splits"] == splits["split"].value_counts().to_dict()
    train = samples.loc[splits["sample_id"][splits["split"] == "train"], "class"].value_counts()
    assert summary["classes_under_10_training_samples"] == sorted(train.index[train < 10])
    assert summary["imbalance"] == pytest.approx(train.max() / train.min(), abs=1e-3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"profile": {"kind": "exponential", "imbalance": 5000}}, "no training sample of"),
        ({"profile": {"kind": "exponential", "imbalance": 2, "n_max": 900}}, "asks for 900 images"),
        ({"target": "clas"}, "unknown taxonomic rank 'clas' (did you mean 'class'?)"),
        ({"splits": {"tune": 0.0}}, "no sample is left for the split 'tune'"),
    ],
)
def test_impossible_splits_are_told(digits, tmp_path, data, message):
    with pytest.raises(TailproofError) as error:
        split(
            digits.parent.parent / "samples.parquet",
            Data(source={"name": "digits"}, **data),
            tmp_path / "splits.parquet",
            tmp_path / "splits.json",
        )
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())
