"""Near duplicates and the split: groups that stay whole, and counts of those that do not."""

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.duplicate_pairs import Pairs, clusters_of, merge_groups, write_pairs
from tailproof.data.grey_thumbnail import SIDE
from tailproof.data.leakage import count_copies, measure_leakage
from tailproof.data.split_assignment import assign_splits
from tailproof.data.splits import group_near_duplicates, merge_near_duplicates
from tailproof.data.tables import with_metadata, write_parquet
from tailproof.files import read_json


def linked(edges) -> Pairs:
    first, second = np.sort(np.asarray(edges, np.int64).reshape(-1, 2), axis=1).T
    count = len(first)
    return Pairs(first, second, np.full(count, 0.9, "f4"), np.zeros(count, bool), np.ones(count))


def union(count, edges, groups=None):
    """Return a name per connected component, by merging sets."""
    sets = {index: {index} for index in range(count)}
    edges = [*edges, *((a, b) for a in range(count) for b in range(a) if groups
                       and groups[a] == groups[b])]  # fmt: skip
    for one, other in edges:
        if sets[one] is not sets[other]:
            sets[one] |= sets[other]
            for member in sets[other]:
                sets[member] = sets[one]
    return [min(sets[index]) for index in range(count)]


COUNT = 24
EDGES = st.lists(st.tuples(*[st.integers(0, COUNT - 1)] * 2), max_size=20)
GROUPS = st.lists(st.sampled_from("abcdefghijklmnop"), min_size=COUNT, max_size=COUNT)


@given(EDGES, GROUPS)
def test_every_sample_is_in_exactly_one_merged_group(edges, groups):
    merged = merge_groups(np.array(groups, object), linked(edges))
    expected = union(COUNT, edges, groups)
    assert len(merged) == COUNT and set(merged) <= set(groups)
    for one in range(COUNT):
        for other in range(COUNT):
            assert (merged[one] == merged[other]) == (expected[one] == expected[other])


@given(EDGES)
def test_clusters_are_connected_pictures(edges):
    assert clusters_of(linked(edges), COUNT).tolist() == union(COUNT, edges)


@pytest.fixture(scope="module")
def config():
    return Data.model_validate({"source": {"name": "digits"}, "near_duplicates": "group"})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_near_duplicates_never_straddle_the_splits(tmp_path_factory, config, data):
    count = data.draw(st.integers(40, 90))
    edges = data.draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 2), max_size=25))
    official = data.draw(st.booleans())
    pools = [("held_out" if index % 3 == 0 else "train") if official else None
             for index in range(count)]  # fmt: skip
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{index}" for index in range(count)],
            "group": [f"g{index // data.draw(st.sampled_from([1, 2]))}" for index in range(count)],
            "pool": pools,
            "class": [f"c{index % 2}" for index in range(count)],
        }
    )
    path = tmp_path_factory.getbasetemp() / "drawn_pairs.parquet"
    pairs = linked([edge for edge in edges if edge[0] != edge[1]])
    write_pairs(path, pairs, pa.array(samples["sample_id"]), {})
    kept, dropped = group_near_duplicates(samples, merge_near_duplicates(samples, path))
    splits = assign_splits(kept, "class", ["c0", "c1"], config)
    clusters = pd.Series(clusters_of(pairs, count))
    table = pd.DataFrame({"split": splits, "cluster": clusters[splits.index]})
    assert (table.groupby("cluster")["split"].nunique() == 1).all()
    assert len(samples) - len(kept) == dropped["near_duplicates_dropped"]
    if official:
        held_out = samples.index[samples["pool"] == "held_out"]
        assert set(held_out) <= set(kept.index), "a published test set stays whole"
        assert set(splits[held_out]) <= {"tune", "dev", "test"}
    else:
        assert len(kept) == count


def test_each_sample_counts_once_per_other_split():
    samples = pd.DataFrame(
        {
            "cluster": [0, 0, 0, 1, 1, 2, 2],
            "split": ["train", "train", "test", "val", "test", "dev", None],
        }
    )
    copies = count_copies(samples)
    assert copies["train"]["test"] == 2 and copies["test"]["train"] == 1
    assert copies["val"]["test"] == copies["test"]["val"] == 1
    assert sum(sum(row.values()) for row in copies.values()) == 5
    assert set(copies) == set(SPLITS) and all(len(row) == 5 for row in copies.values())


def test_the_files_list_counts_classes_and_no_test_picture(tmp_path, config):
    rows = [  # the first three are near duplicates
        {"sample_id": "a", "class": "=cat", "path": "x/a.png", "split": "train"},
        {"sample_id": "b", "class": "dog", "path": "x/b.png", "split": "test"},
        {"sample_id": "c", "class": None, "path": "x/c.png", "split": None},
        {"sample_id": "d", "class": "dog", "path": "x/d.png", "split": "train"},
    ]
    table = pa.Table.from_pylist(rows)
    samples = with_metadata(table.drop_columns("split"), {"ranks": ["class"]})
    write_parquet(tmp_path / "samples.parquet", samples)
    splits = table.select(["sample_id", "split"]).filter(table["split"].is_valid())
    write_parquet(tmp_path / "splits.parquet", splits)
    pictures = np.random.default_rng(0).integers(0, 255, (4, SIDE, SIDE), np.uint8)
    column = pa.array([picture.tobytes() for picture in pictures], pa.binary(SIDE * SIDE))
    thumbnails = pa.table({"sample_id": table["sample_id"], "thumbnail": column})
    write_parquet(tmp_path / "thumbnails.parquet", thumbnails)
    facts = {"pictures": 4, "flat": 0, "threshold": 0.89, "look_alikes": 0}
    pairs = linked([(0, 1), (1, 2)])
    write_pairs(tmp_path / "pairs.parquet", pairs, table["sample_id"].combine_chunks(), facts)
    names = ("samples", "splits", "pairs", "thumbnails")
    inputs = [tmp_path / f"{name}.parquet" for name in names]
    measure_leakage(*inputs, config, tmp_path / "leakage.json", tmp_path / "pairs.csv")
    leakage = read_json(tmp_path / "leakage.json")
    assert facts.items() <= leakage.items() and leakage["grouped"]
    assert (leakage["pairs"], leakage["clusters"], leakage["in_clusters"]) == (2, 1, 3)
    assert leakage["copies"]["test"]["train"] == leakage["copies"]["train"]["test"] == 1
    assert leakage["cross_class_pairs"] == 1
    (cluster,) = leakage["examples"]
    by_id = {member["sample_id"]: member for member in cluster["members"]}
    assert set(by_id) == {"a", "b", "c"}
    assert by_id["b"]["picture"] is None and by_id["a"]["picture"].startswith("data:image/png")
    (row,) = csv.DictReader((tmp_path / "pairs.csv").read_text().splitlines())
    assert (row["first"], row["second"], row["second_class"]) == ("a", "b", "dog")
    assert (row["first_split"], row["second_path"]) == ("train", "x/b.png")
    assert row["first_class"] == "'=cat", "a formula is neutralised"
