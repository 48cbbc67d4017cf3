from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.exact_duplicates import drop_duplicates
from tailproof.data.long_tail import long_tail_counts
from tailproof.data.split_assignment import assign, assign_pools, count_classes
from tailproof.data.splits import (
    drop_shared_groups,
    drop_unlabelled,
    prior_weights,
    split,
    warn_about_small_classes,
)
from tailproof.data.tables import read_parquet, with_metadata, write_parquet
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError


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
    counts = long_tail_counts(np.full(100, 500), "exponential", 100, None)
    assert counts.sum() == 10847
    assert (counts[0], counts[-1]) == (500, 5)
    # CIFAR-10-LT at imbalance 100 (Cui et al. 2019): 5000 … 50, 12,406 images
    ten = long_tail_counts(np.full(10, 5000), "exponential", 100, None)
    assert ten.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_step_profile_halves_the_classes():
    counts = long_tail_counts(np.full(10, 100), "step", 10, None)
    assert counts.tolist() == [100] * 5 + [10] * 5


@given(
    available=st.lists(st.integers(1, 400), min_size=1, max_size=30),
    imbalance=st.floats(1, 200),
    kind=st.sampled_from(["exponential", "step"]),
)
def test_default_n_max_fits_into_the_pool(available, imbalance, kind):
    available = np.array(available)
    counts = long_tail_counts(available, kind, imbalance, None)
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


@settings(max_examples=60)
@given(data=st.data())
def test_no_group_straddles_two_splits_whatever_the_pools(data):
    n = data.draw(st.integers(12, 150))

    def draw(values):
        return data.draw(st.lists(values, min_size=n, max_size=n))

    samples = frame(
        draw(st.integers(0, 4)),
        [f"g{group}" for group in draw(st.integers(0, n // 2))],
        [f"d{digest}" for digest in draw(st.integers(0, 2 * n))],
        draw(st.sampled_from(["train", "held_out"])) if data.draw(st.booleans()) else None,
    )
    samples["class"] = samples["class"].where(pd.Series(draw(st.integers(0, 3))) > 0)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    if samples["class"].isna().all():
        return
    labelled, found = drop_unlabelled(samples, "class")
    assert found["unlabelled_dropped"] == samples["class"].isna().sum()
    unique, _ = drop_duplicates(labelled, "class")
    kept, _ = drop_shared_groups(unique)
    try:
        pools = assign_pools(kept, "class", 0.3, rng)
    except TailproofError:
        assert kept["pool"].nunique() < 2
        return
    training, held_out = kept[pools == "train"], kept[pools == "held_out"]
    splits = pd.concat(
        [
            assign(training, "class", {"val": 0.2, "calib": 0.1}, "train", rng),
            assign(held_out, "class", {"tune": 0.2, "dev": 0.2}, "test", rng),
        ]
    )
    assert sorted(splits.index) == sorted(kept.index)
    assert (splits.groupby(kept["group"]).nunique() == 1).all()
    assert kept["digest"].is_unique and kept["class"].notna().all()


@pytest.mark.parametrize("official", [False, True])
def test_folds_are_advised_only_where_the_source_has_no_test_set(caplog, official):
    counts = pd.DataFrame({"train": [9, 1], "test": [3, 0]}, ["cat", "lynx"])
    warn_about_small_classes(counts, in_fold=False, official=official)
    (record,) = caplog.records
    assert "1 of 2 classes has no image in test (lynx)" in record.getMessage()
    assert ("tailproof folds" in record.getMessage()) is not official


def test_a_copy_without_a_label_neither_conflicts_nor_replaces(caplog):
    labels = pd.Series([None, "a", "a", "b", None], dtype="str")
    samples = frame(range(5), digests=["x", "x", "y", "z", "z"]).assign(**{"class": labels})
    labelled, found = drop_unlabelled(samples, "class")
    assert found == {"unlabelled_dropped": 2}
    assert [record.args for record in caplog.records] == [("2 samples", "class")]
    kept, copies = drop_duplicates(labelled, "class")
    assert kept["sample_id"].tolist() == ["s1", "s2", "s3"]
    assert copies == {"duplicates_dropped": 0, "conflicting_dropped": 0}


@pytest.mark.parametrize("target", ["rank", "order", "species"])
def test_a_target_with_gaps_is_split_whatever_its_name(tmp_path, target):
    codes = np.arange(200) % 4
    table = frame(codes).assign(path="x", row=0, height=1, width=1)
    table[target] = [None if i % 10 == 0 else f"c{code}" for i, code in enumerate(codes)]
    names = [f"c{code}" for code in range(4)]
    classes = {"class": names, target: names}
    metadata = {"ranks": list(classes), "classes": classes, "mode": "L"}
    samples = with_metadata(pa.Table.from_pandas(table, preserve_index=False), metadata)
    write_parquet(tmp_path / "samples.parquet", samples)
    config = Data(source={"name": "digits"}, long_tail={"kind": "exponential", "imbalance": 3})
    files = [tmp_path / name for name in ("samples.parquet", "splits.parquet", "splits.json")]
    split(files[0], config, *files[1:])
    summary = read_json(files[2])
    assert summary["target"] == target and summary["unlabelled_dropped"] == 20
    splits = read_parquet(files[1])["split"].to_pylist()
    assert splits == sorted(splits, key=SPLITS.index)
    unlabelled = set(table["sample_id"][table[target].isna()])
    assert not unlabelled & set(read_parquet(files[1])["sample_id"].to_pylist())


def test_a_target_without_any_label_is_told():
    samples = frame(range(3)).assign(**{"class": None})
    with pytest.raises(TailproofError, match="rank 'class'"):
        drop_unlabelled(samples, "class")


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


def test_published_test_and_validation_sets_keep_the_groups_that_pools_share():
    pools = ["train", "held_out", "train", "val", "val", "train"]
    samples = frame([0] * 6, groups=["g", "g", "h", "h", "g", "i"], pools=pools)
    kept, dropped = drop_shared_groups(samples)
    assert kept["sample_id"].tolist() == ["s1", "s3", "s5"]
    assert dropped == {"shared_groups_dropped": 3}


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
    config = Data(source={"name": "digits"}, long_tail={"kind": "exponential", "imbalance": 20})
    split(folder / "samples.parquet", config, tmp_path / "a.parquet", tmp_path / "a.json")
    assert (tmp_path / "a.parquet").read_bytes() == (folder / "splits.parquet").read_bytes()
    summary = read_json(tmp_path / "a.json")
    assert summary["splits"] == splits["split"].value_counts().to_dict()
    train = samples.loc[splits["sample_id"][splits["split"] == "train"], "class"].value_counts()
    assert summary["classes_under_10_training_samples"] == sorted(train.index[train < 10])
    assert summary["imbalance"] == pytest.approx(train.max() / train.min(), abs=1e-3)


def test_copies_with_different_labels_alone_are_told(tmp_path):
    """All downloads of a collection are the one picture that says that it is not available."""
    names = ["c0", "c1"]
    table = frame(np.arange(20) % 2).assign(digest="same", path="x", row=0, height=1, width=1)
    metadata = {"ranks": ["class"], "classes": {"class": names}, "mode": "L"}
    samples = with_metadata(pa.Table.from_pandas(table, preserve_index=False), metadata)
    write_parquet(tmp_path / "samples.parquet", samples)
    files = [tmp_path / name for name in ("samples.parquet", "splits.parquet", "splits.json")]
    with pytest.raises(TailproofError, match="conflicting_dropped 20"):
        split(files[0], Data(source={"name": "digits"}), *files[1:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"long_tail": {"kind": "exponential", "imbalance": 5000}}, "no training sample"),
        (
            {"long_tail": {"kind": "exponential", "imbalance": 2, "n_max": 900}},
            "asks for 900 images",
        ),
        ({"target": "clas"}, "unknown taxonomic rank 'clas' (did you mean 'class'?)"),
        ({"splits": {"tune": 0.0}}, "split 'tune'"),
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
