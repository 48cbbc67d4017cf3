"""Unknown pictures: held-out classes, or another source; never in one of the six splits."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS, UNKNOWN_SPLITS
from tailproof.data.images import encode_png
from tailproof.data.manifest import write_unknown_manifest
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import list_raw
from tailproof.data.shards import shard
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.data.unknown_pictures import open_pictures
from tailproof.data.unknown_split import NEXT_TO, assign_unknown
from tailproof.files import read_json
from tailproof.loading import Loader, Split
from tailproof.runtime.errors import TailproofError
from tests.conftest import DIGITS, build_data

HELD_OUT = DIGITS | {"unknown": {"classes": ["8", "9"]}}


def paint(folder, seed=0, count=1, size=4, colour=False):
    """Write pictures of random pixels."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shape = (size, size, 3) if colour else (size, size)
        picture = encode_png(rng.integers(0, 256, shape, np.uint8))
        (folder / f"{number}.png").write_bytes(picture)


def photos(root, classes=("ant", "bee", "cat"), count=12):
    """Three classes of grey pictures."""
    for number, name in enumerate(classes):
        paint(root / "photos" / name, number, count)
    return {"source": {"name": "image_folder", "root": str(root / "photos")}}


def divided(config: dict, folder):
    """Run prepare and split; return samples with their splits, and the summary."""
    data = Data(**config)
    prepare(data, folder / "samples.parquet")
    split(folder / "samples.parquet", data, folder / "splits.parquet", folder / "splits.json")
    samples = pq.read_table(folder / "samples.parquet").to_pandas()
    splits = pq.read_table(folder / "splits.parquet").to_pandas()
    return samples.merge(splits, on="sample_id", how="left"), read_json(folder / "splits.json")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """The digits without 8 and 9, whose shards are in the same folder."""
    folder = tmp_path_factory.mktemp("held_out")
    data = Data(**HELD_OUT)
    manifest, facts = build_data(data, folder), {}
    for name in UNKNOWN_SPLITS:
        for part in range(data.shards_per_split):
            path = folder / "shards" / name / f"part-{part:05d}.parquet"
            facts.setdefault(name, []).append(path.with_suffix(".json"))
            tables = folder / "samples.parquet", folder / "splits.parquet"
            shard(*tables, data, name, part, path, path.with_suffix(".json"))
    unknown = manifest.with_name("unknown.json")
    write_unknown_manifest(manifest, folder / "samples.parquet", facts, unknown)
    return manifest, unknown


def test_a_class_that_is_held_out_is_no_class_of_the_experiment(held_out):
    manifest, unknown = held_out
    classes = {"class": [str(digit) for digit in range(8)]}
    assert read_json(manifest)["classes"] == read_json(unknown)["classes"] == classes
    assert list(read_json(manifest)["splits"]) == list(SPLITS)
    samples = pq.read_table(manifest.parents[1] / "samples.parquet").to_pandas()
    splits = pq.read_table(manifest.parents[1] / "splits.parquet").to_pandas()
    joined = splits.merge(samples, on="sample_id")
    six = joined[joined["split"].isin(SPLITS)]
    others = joined[joined["split"].isin(UNKNOWN_SPLITS)]
    assert set(six["class"]) == set(classes["class"]) and six["unknown_class"].isna().all()
    assert others["class"].isna().all() and set(others["unknown_class"]) == {"8", "9"}
    halves = others.groupby(["unknown_class", "split"]).size().unstack()
    assert ((halves["unknown_tune"] - halves["unknown_test"]).abs() <= 1).all()
    summary = read_json(manifest.parents[1] / "splits.json")
    assert summary["unknown"]["splits"] == others["split"].value_counts().to_dict()
    assert summary["samples"] == len(samples) - summary["unknown"]["samples"]


def test_unknown_shards_are_read_as_those_of_the_six_splits(held_out):
    _, unknown = held_out
    for name in UNKNOWN_SPLITS:
        opened = Split(unknown, name)
        assert len(opened) == read_json(unknown)["splits"][name]["rows"] > 100
        assert (opened.labels["class"] == -1).all() and (opened.weight == 1).all()
        assert opened.image(0).shape == (8, 8, 1)


def test_without_unknown_pictures_nothing_changes(digits, held_out):
    """The same bytes, and with another source of unknown pictures the same six splits."""
    assert "unknown_class" not in pq.read_schema(digits.parents[1] / "samples.parquet").names
    assert "unknown" not in read_json(digits.parents[1] / "splits.json")
    plain = Data(**DIGITS)
    assert "unknown" not in plain.model_dump(mode="json")


def test_pictures_of_another_source_leave_the_six_splits_as_they_are(digits, tmp_path):
    paint(tmp_path / "others" / "noise", 9, 6, size=30, colour=True)
    paint(tmp_path / "others", 10, 5, size=20)
    config = {"source": {"name": "pictures", "root": str(tmp_path / "others")}}
    data = Data(**DIGITS, unknown=config)
    manifest = build_data(data, tmp_path)
    assert read_json(manifest) == read_json(digits)
    for name in ("train", "test"):
        path = f"shards/{name}/part-00001.parquet"
        assert (tmp_path / path).read_bytes() == (digits.parents[1] / path).read_bytes()
    metadata = table_metadata(tmp_path / "samples.parquet")
    assert metadata == table_metadata(digits.parents[1] / "samples.parquet")
    facts = {}
    for name in UNKNOWN_SPLITS:
        for part in range(2):
            path = tmp_path / "shards" / name / f"part-{part:05d}.parquet"
            facts.setdefault(name, []).append(path.with_suffix(".json"))
            tables = tmp_path / "samples.parquet", tmp_path / "splits.parquet"
            shard(*tables, data, name, part, path, path.with_suffix(".json"))
    unknown = manifest.with_name("unknown.json")
    write_unknown_manifest(manifest, tmp_path / "samples.parquet", facts, unknown)
    split = Split(unknown, "unknown_test")
    loader = Loader(
        split,
        batch_size=8,
        image_size=8,
        normalization={"mean": [0.0], "std": [1.0]},
        memory_budget=2**20,
    )
    shapes = {tuple(batch.inputs.shape[1:]) for batch in loader.epoch(1)}
    assert shapes == {(1, 8, 8)}
    assert {name.split(":")[0] for name in split.sample_ids} == {"unknown"}


def test_raw_files_of_both_sources_are_pinned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "others", 9, 6)
    config = photos(tmp_path) | {"source": {"name": "image_folder", "root": "photos"}}
    config |= {"unknown": {"source": {"name": "pictures", "root": "others"}}}
    data = Data(**config)
    source = prepare(data, tmp_path / "samples.parquet")
    list_raw(data, tmp_path / "samples.parquet", tmp_path / "raw.parquet", source)
    listed = read_parquet(tmp_path / "raw.parquet").to_pylist()
    assert len(listed) == 36 + 6 and all(row["watched"] for row in listed)
    assert all((tmp_path / "photos" / row["path"]).is_file() for row in listed)
    opened = open_pictures(data)
    wanted = [(sample.path, sample.row) for sample in opened.samples()]
    for part in (wanted, wanted[:3], wanted[-3:]):
        assert list(opened.read_many(part)) == [opened.read(*place) for place in part]


@settings(max_examples=40)
@given(data=st.data())
def test_no_group_is_on_two_sides(data):
    """Groups of unknown samples alone are halved; others follow their known samples."""
    size = data.draw(st.integers(8, 40))
    groups = data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    names = data.draw(st.lists(st.sampled_from(["x", "y", None]), min_size=size, max_size=size))
    unknown = pd.DataFrame(
        {
            "sample_id": [f"u{row}" for row in range(size)],
            "digest": [f"u{row}" for row in range(size)],
            "group": [f"g{group}" for group in groups],
            "unknown_class": names,
        }
    )
    splits = data.draw(st.lists(st.sampled_from(SPLITS), min_size=4, max_size=4))
    known = pd.DataFrame({"group": [f"g{group}" for group in range(4)], "split": splits})
    samples = pd.DataFrame({"sample_id": ["k"], "digest": ["k"]})
    config = Data(**HELD_OUT)
    try:
        used, dropped = assign_unknown(unknown, samples, known, config)
    except TailproofError:
        usable = unknown["group"].map(known.set_index("group")["split"])
        usable = usable.isna() | usable.isin(NEXT_TO)
        assert unknown.loc[usable, "group"].nunique() < 2
        return
    joined = unknown.assign(split=used).dropna(subset="split")
    assert (joined.groupby("group")["split"].nunique() == 1).all()
    for group, split_of_known in zip(known["group"], splits, strict=True):
        here = joined.loc[joined["group"] == group, "split"]
        assert set(here) <= {NEXT_TO.get(split_of_known)}
    assert len(used) + dropped["shared_groups_dropped"] == size


def test_official_sets_give_unknown_pictures_of_test_alone(tmp_path):
    for seed, pool in enumerate(("train", "test")):
        photos(tmp_path / pool, ("ant", "bee", "cat"), 10)
        for number, name in enumerate(("ant", "bee", "cat")):
            paint(tmp_path / "all" / pool / name, 10 * seed + number, 10)
    source = {"name": "image_folder", "root": str(tmp_path / "all"), "train": "train"}
    config = {"source": source | {"test": "test"}, "unknown": {"classes": ["cat"]}}
    samples, _ = divided(config, tmp_path)
    unknown = samples[samples["pool"] == "unknown"]
    assert len(unknown) == 10 and set(unknown["unknown_class"]) == {"cat"}
    assert unknown["path"].str.startswith("test/").all()
    prepared = read_json(tmp_path / "prepare.json")
    (skipped,) = (item for item in prepared["skipped"] if "official" in item["reason"])
    assert skipped["count"] == 10
    assert any("official test set" in text for text in prepared["warnings"])


def test_copies_of_known_pictures_are_left_out_of_held_out_classes(tmp_path):
    config = photos(tmp_path)
    twin = (tmp_path / "photos" / "ant" / "0.png").read_bytes()
    (tmp_path / "photos" / "cat" / "twin.png").write_bytes(twin)
    (tmp_path / "photos" / "cat" / "copy.png").write_bytes(
        (tmp_path / "photos" / "cat" / "0.png").read_bytes()
    )
    samples, summary = divided(config | {"unknown": {"classes": ["cat"]}}, tmp_path)
    assert summary["unknown"]["known_pictures_dropped"] == 1
    assert summary["unknown"]["duplicates_dropped"] == 1
    assert sum(summary["unknown"]["splits"].values()) == 12
    assert samples.loc[samples["path"] == "ant/0.png", "split"].notna().all()


def test_a_coarser_class_without_known_species_is_no_class(tmp_path):
    for number, name in enumerate(("bird/owl", "bird/wren", "fish/eel", "bug/ant", "bug/bee")):
        paint(tmp_path / "photos" / name, number, 12)
    source = {"name": "image_folder", "root": str(tmp_path / "photos"), "ranks": ["kind", "name"]}
    config = {"source": source, "unknown": {"classes": ["eel", "ant"]}}
    divided(config, tmp_path)
    classes = table_metadata(tmp_path / "samples.parquet")["classes"]
    assert classes == {"kind": ["bird", "bug"], "name": ["bee", "owl", "wren"]}
    divided({"source": source, "target": "kind", "unknown": {"classes": ["bug"]}}, tmp_path)
    classes = table_metadata(tmp_path / "samples.parquet")["classes"]
    assert classes == {"kind": ["bird", "fish"], "name": ["eel", "owl", "wren"]}


def refused(config: dict, folder) -> str:
    with pytest.raises(TailproofError) as error:
        divided(config, folder)
    return str(error.value)


def test_bad_unknown_pictures_get_one_sentence(tmp_path):
    config = photos(tmp_path)
    paint(tmp_path / "one", 9)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    paint(tmp_path / "known", 1, 2)  # those of bee

    def pictures(name):
        return {"source": {"name": "pictures", "root": str(tmp_path / name)}}

    cases = [
        ({"classes": ["bea"]}, ["bea", "'bee'", "data.unknown.classes"]),
        ({"classes": ["ant", "bee", "cat"]}, ["3 of 3 classes", "at least 2"]),
        ({"classes": ["ant", "cat"]}, ["2 of 3 classes", "leaves 1"]),
        (pictures("empty"), ["empty", "no picture"]),
        (pictures("texts"), ["no picture", "files that end in .txt (1)"]),
        (pictures("nowhere"), ["nowhere is not a folder"]),
        (pictures("known"), ["2 of 2 pictures", "unknown:0.png (bee/0.png)"]),
        (pictures("one"), ["1 picture", "at least 2"]),
    ]
    for unknown, words in cases:
        sentence = refused(config | {"unknown": unknown}, tmp_path)
        assert all(word in sentence for word in words), sentence
        assert "\n" not in sentence


def test_a_class_of_the_official_training_set_alone_is_refused(tmp_path):
    for number, name in enumerate(("train/ant", "train/bee", "train/cat", "test/ant", "test/bee")):
        paint(tmp_path / "all" / name, number, 10)
    source = {"name": "image_folder", "root": str(tmp_path / "all")}
    source |= {"train": "train", "test": "test"}
    sentence = refused({"source": source, "unknown": {"classes": ["cat"]}}, tmp_path)
    assert "'cat' has 10 pictures in the official training" in sentence


def test_pictures_of_another_size_than_a_fixed_one_are_refused(tmp_path):
    config = photos(tmp_path)
    for file in (tmp_path / "photos").rglob("*.png"):
        seed = int(file.stem) + 100 * len(file.parent.name)
        pixels = np.random.default_rng([seed, ord(file.parent.name[0])])
        file.write_bytes(encode_png(pixels.integers(0, 256, (4, 6), np.uint8)))
    paint(tmp_path / "others", 9, 6, size=5)
    config |= {"unknown": {"source": {"name": "pictures", "root": str(tmp_path / "others")}}}
    manifest = build_data(Data(**config), tmp_path)
    with pytest.raises(TailproofError, match=r"6 of 6 pictures.*4×6"):
        write_unknown_manifest(manifest, tmp_path / "samples.parquet", {}, tmp_path / "u.json")


@pytest.mark.parametrize(
    ("unknown", "word"),
    [
        ({"classes": ["8"], "source": {"name": "digits"}}, "remove one"),
        ({"classes": ["8", "8"]}, "listed twice"),
        ({"klasses": ["8"]}, "klasses"),
    ],
)
def test_a_wrong_section_is_refused(unknown, word):
    with pytest.raises(ValidationError, match=word):
        Data(**DIGITS, unknown=unknown)
