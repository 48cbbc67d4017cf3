"""Files of features: what is written is read, and files that do not belong together are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.features.embed_state import BatchLog
from tailproof.features.store import FeatureSplit, FeatureWriter, part_path
from tailproof.files import atomic, write_json
from tailproof.runtime.errors import TailproofError

GROUPS = ((3, 2), (4,))  # samples of each row group of each shard
FACTS = {"layers": [["penultimate", 5], ["last", 3]], "dtype": "float16", "size": 96}


def write_part(path: Path, groups, *, first=0, ranks=("species",), views=2, **facts) -> np.ndarray:
    written = []
    with (
        atomic(path) as temporary,
        FeatureWriter(temporary, ranks=list(ranks), views=views, facts=FACTS | facts) as writer,
    ):
        for rows in groups:
            ids = np.arange(first, first + rows)
            width = sum(width for _, width in FACTS["layers"])
            values = np.random.default_rng(first).random((rows, views, width)).astype(np.float16)
            labels = {rank: np.where(ids % 3, ids, -1) for rank in ranks}
            writer.write([f"s{number}" for number in ids], labels, ids / 2, values)
            written.append(values)
            first += rows
    return np.concatenate(written)


@pytest.fixture
def stored(tmp_path):
    """Features of a split of two shards; the manifest, and the features."""
    shards = [
        {"path": f"train/part-{part:05d}.parquet", "rows": sum(groups), "sha256": f"digest {part}"}
        for part, groups in enumerate(GROUPS)
    ]
    manifest = {"ranks": ["species"], "splits": {"train": {"shards": shards}}}
    write_json(tmp_path / "manifest.json", manifest)
    parts = [
        write_part(
            part_path(tmp_path, "train", part),
            groups,
            first=5 * part,
            shard_sha256=f"digest {part}",
        )
        for part, groups in enumerate(GROUPS)
    ]
    return tmp_path / "manifest.json", np.concatenate(parts)


def opened(manifest: Path) -> FeatureSplit:
    return FeatureSplit(manifest.parent, manifest, "train")


def test_what_is_written_is_read(stored):
    manifest, features = stored
    split, rows = opened(manifest), np.arange(9)
    assert split.sample_ids == [f"s{row}" for row in rows]
    assert split.labels["species"].tolist() == np.where(rows % 3, rows, -1).tolist()
    assert split.weight.tolist() == (rows / 2).tolist()
    assert (split.groups, split.views, split.width) == ([3, 2, 4], 2, 8)
    assert split.layers == {"penultimate": 5, "last": 3} and split.facts["size"] == 96
    assert split.size_in_memory == features.nbytes
    np.testing.assert_array_equal(split.read_all(), features)
    for rows, values in split.blocks():
        np.testing.assert_array_equal(values, features[rows])


def test_features_of_other_shards_are_refused(stored):
    manifest, _ = stored
    path = part_path(manifest.parent, "train", 1)
    write_part(path, GROUPS[1], first=5, shard_sha256="another")
    with pytest.raises(TailproofError, match=f"{path} has the features of a shard other than"):
        opened(manifest)


def test_parts_that_were_computed_in_different_ways_are_refused(stored):
    manifest, _ = stored
    path = part_path(manifest.parent, "train", 1)
    write_part(path, GROUPS[1], first=5, shard_sha256="digest 1", size=128)
    with pytest.raises(TailproofError, match=f"{path} .*differ in size"):
        opened(manifest)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_file_is_named(stored, damage):
    manifest, _ = stored
    path = part_path(manifest.parent, "train", 0)
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-20])
    elif damage == "foreign":
        path.write_text("sample_id,penultimate\n")
    with pytest.raises(TailproofError, match=str(path)):
        opened(manifest)


def test_a_row_group_damaged_since_it_was_opened_is_named(stored):
    manifest, _ = stored
    split = opened(manifest)
    path = Path(split.paths[1])
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(bytes(len(content) - footer) + content[-footer:])
    split.read(0)
    with pytest.raises(TailproofError, match=f"{path}, row group 0"):
        split.read(2)


def test_a_rank_with_the_name_of_another_column_is_refused(tmp_path):
    with pytest.raises(TailproofError, match="the rank 'view'"):
        write_part(tmp_path / "part.parquet", [1], ranks=("species", "view"))


@given(st.lists(st.integers(1, 4), max_size=5), st.integers(0, 200), st.integers(0, 3), st.binary())
def test_a_log_that_was_cut_anywhere_keeps_its_first_whole_batches(
    tmp_path_factory, sizes, kept, width, garbage
):
    path = tmp_path_factory.mktemp("log") / "train"
    width += 1
    values = [np.full((rows, width), number, np.float32) for number, rows in enumerate(sizes)]
    log = BatchLog(path, width, np.dtype(np.float32))
    ends = [0]
    for batch in values:
        log.append(batch)
        ends.append(path.stat().st_size)
    log.close()
    path.write_bytes(path.read_bytes()[:kept] + garbage[:11])
    again = BatchLog(path, width, np.dtype(np.float32))
    assert len(again) >= sum(end <= kept for end in ends[1:])
    for batch in values[len(again) :]:
        again.append(batch)
    for number, batch in enumerate(values):
        np.testing.assert_array_equal(again.read(number), batch)
    again.close()
