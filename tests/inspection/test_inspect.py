"""The stage on drawn shards and logits."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tailproof.config.data import Data
from tailproof.config.evaluation import Evaluation
from tailproof.data.images import encode_png
from tailproof.data.logits import Logits
from tailproof.data.prepare import prepare
from tailproof.data.sources import open_source
from tailproof.data.tables import write_parquet
from tailproof.files import write_json
from tailproof.inspection import gallery, inspect, labels_to_check
from tailproof.inspection.held_out_predictions import INSPECTED, HeldOutPredictions
from tailproof.retraining.relabel import write_label_table
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import csv_line, plain_cell

ROOT = Path(__file__).resolve().parents[2]

CLASSES = ["=lynx", "otter", "red fox", 'a "b", c']
COUNTS = {"train": 30, "val": 20, "calib": 20, "tune": 40, "dev": 40}
WRONG = {"dev": [3, 17], "val": [5]}
BLANK = ("tune", 4)


def sample(split: str, row: int) -> str:
    return f"{split}/ä {row}.png"


def write_collection(folder, *, classes=CLASSES, packed=False, experts=2):
    """Shards, samples.parquet and logits of all splits but test; return the logits by split."""
    labels = {split: np.arange(count) % len(classes) for split, count in COUNTS.items()}
    true = {split: codes.copy() for split, codes in labels.items()}
    for split, rows in WRONG.items():
        labels[split][rows] = (true[split][rows] + 1) % len(classes)
    for split, codes in labels.items():
        write_shard(folder / "shards" / split / "part-00000.parquet", split, codes)
    ids = [sample(split, row) for split, count in COUNTS.items() for row in range(count)]
    rows = pa.array(range(len(ids)) if packed else [None] * len(ids), pa.int64())
    table = pa.table({"sample_id": ids, "path": ids, "row": rows})
    write_parquet(folder / "samples.parquet", table)
    write_manifest(folder / "shards" / "manifest.json", classes, labels)
    return {
        split: [
            write_logits(folder / f"{expert}-{split}.parquet", split, labels, true, expert)
            for expert in range(experts)
        ]
        for split in INSPECTED
    }


def write_shard(path, split, codes):
    rng = np.random.default_rng(len(codes))
    images = [rng.integers(0, 255, (12, 12, 3), np.uint8) for _ in codes]
    if split == BLANK[0]:
        images[BLANK[1]][:] = 77
    columns = {
        "sample_id": [sample(split, row) for row in range(len(codes))],
        "image": [{"bytes": encode_png(image), "path": None} for image in images],
        "species": pa.array(codes, pa.int64()),
    }
    write_parquet(path, pa.table(columns), row_group_size=7)


def write_manifest(path, classes, labels):
    splits = {
        split: {
            "rows": len(codes),
            "class_counts": {
                "species": dict(
                    zip(classes, np.bincount(codes, minlength=len(classes)).tolist(), strict=True)
                )
            },
            "shards": [{"path": f"{split}/part-00000.parquet"}],
        }
        for split, codes in labels.items()
    }
    write_json(
        path,
        {
            "target": "species",
            "mode": "RGB",
            "positive": classes[0] if len(classes) == 2 else None,
            "ranks": ["family", "species"],
            "classes": {"family": ["x"], "species": classes},
            "ancestors": {"species": {"family": [0] * len(classes)}},
            "splits": splits,
        },
    )


def write_logits(path, split, labels, true, expert):
    classes = labels["train"].max() + 1
    rng = np.random.default_rng([expert, len(split)])
    values = 8 * np.eye(classes)[true[split]] + rng.normal(size=(len(true[split]), classes))
    ids = np.array([sample(split, row) for row in range(len(true[split]))], object)
    metadata = {
        "expert": f"e{expert}", "seed": 0, "split": split, "target": "species",
        "weights_sha256": "0", "temperature": 1.0,
    }  # fmt: skip
    ranks = {"species": labels[split], "family": np.full(len(ids), -1)}
    heads = {"species": values.astype(np.float32)}
    Logits(ids, ranks, np.ones(len(ids)), heads, metadata).write(path)
    return path


def run(folder, logits):
    manifest = folder / "shards" / "manifest.json"
    config = Evaluation(many_shot=100, few_shot=8)
    return inspect.inspect(
        manifest, folder / "samples.parquet", logits, config, folder / "inspection"
    )


def listed(folder):
    with (folder / "inspection" / "labels_to_check.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: plain_cell(cell) for key, cell in row.items()} for row in rows]


def test_planted_labels_come_first_with_the_class_that_is_right(tmp_path):
    logits = write_collection(tmp_path)
    summary = run(tmp_path, logits)
    rows = listed(tmp_path)
    planted = {sample(split, row) for split, wrong in WRONG.items() for row in wrong}
    assert {row["sample_id"] for row in rows[:3]} == planted
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and scores[2] > 0.5
    for row in rows[:3]:
        split, _, name = row["sample_id"].partition("/")
        number = int(name.split()[1].removesuffix(".png"))
        assert row["split"] == split
        assert row["suggested_label"] == CLASSES[number % 4]
        assert row["label"] == CLASSES[(number + 1) % 4]
        assert row["image"] == f"/data/local-files/?d={split}/%C3%A4%20{number}.png"
    groups = summary["labels"]["groups"]
    assert {name: group["labels"] for name, group in groups.items()} == {
        "many": 0, "medium": 59, "few": 61,
    }  # fmt: skip
    assert sum(group["likely_wrong"] for group in groups.values()) == 3
    assert summary["splits"] == {split: COUNTS[split] for split in INSPECTED}
    assert sum(pair["count"] for pair in summary["labels"]["pairs"]) == 3


def test_no_cell_is_a_formula(tmp_path):
    run(tmp_path, write_collection(tmp_path))
    text = (tmp_path / "inspection" / "labels_to_check.csv").read_text()
    assert "'=lynx" in text and ",=lynx" not in text


def test_images_of_larger_files_are_part_of_the_table(tmp_path):
    run(tmp_path, write_collection(tmp_path, packed=True))
    rows = listed(tmp_path)
    assert rows and all(row["image"].startswith("data:image/png;base64,") for row in rows)


def test_odd_images_are_listed_with_their_limit(tmp_path):
    summary = run(tmp_path, write_collection(tmp_path))
    with (tmp_path / "inspection" / "odd_images.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["sample_id"], row["split"], row["kind"]) == (sample(*BLANK), BLANK[0], "blank")
    assert plain_cell(row["label"]) == CLASSES[BLANK[1] % 4]
    assert float(row["value"]) < float(row["limit"])
    counts = {rule["kind"]: rule["count"] for rule in summary["odd"]}
    assert counts.pop("blank") == 1 and set(counts.values()) == {0}
    pictures = json.loads((tmp_path / "inspection" / "pictures.json").read_text())
    assert [image["sample_id"] for image in pictures["odd"]] == [row["sample_id"]]


def test_the_same_files_give_the_same_bytes(tmp_path):
    logits = write_collection(tmp_path)
    run(tmp_path, logits)
    first = {path.name: path.read_bytes() for path in (tmp_path / "inspection").iterdir()}
    run(tmp_path, logits)
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "inspection").iterdir()}
    assert set(first) == {"summary.json", "labels_to_check.csv", "odd_images.csv", "pictures.json"}


def test_two_classes(tmp_path):
    logits = write_collection(tmp_path, classes=["lens", "control"])
    run(tmp_path, logits)
    planted = {sample(split, row) for split, wrong in WRONG.items() for row in wrong}
    assert {row["sample_id"] for row in listed(tmp_path)[:3]} == planted


def test_pictures_of_a_thousand_classes_are_few(tmp_path):
    classes = [f"class {index}" for index in range(1000)]
    counts = np.maximum(1, 900 // np.arange(1, 1001))
    (tmp_path / "shards").mkdir()
    write_manifest(
        tmp_path / "shards" / "manifest.json", classes, {"train": np.repeat(range(1000), counts)}
    )
    task = inspect.Task.read(tmp_path / "shards" / "manifest.json", Evaluation())
    shown = gallery.Gallery(task)
    photograph = encode_png(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    for label in range(1000):
        for _ in range(2):
            shown.add(photograph, label)
    value = shown.as_json()
    groups = [next(name for name in task.groups if task.groups[name][int(c[6:])]) for c in value]
    assert {name: groups.count(name) for name in task.groups} == {
        "many": 8, "medium": 20, "few": 20,
    }  # fmt: skip
    assert next(iter(value)) == "class 0" and list(value)[-1] == "class 999"
    size = len(json.dumps(value)) / sum(map(len, value.values()))
    assert size * 60 * gallery.PICTURES < 1.5e6


def test_classes_without_training_images_have_no_pictures(tmp_path):
    logits = write_collection(tmp_path)
    path = tmp_path / "shards" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["classes"]["species"].append("unseen")
    manifest["ancestors"]["species"]["family"].append(0)
    for facts in manifest["splits"].values():
        facts["class_counts"]["species"]["unseen"] = 0
    write_json(path, manifest)
    for paths in logits.values():
        for file in paths:
            read = Logits.read(file)
            heads = {"species": np.pad(read.values, ((0, 0), (0, 1)), constant_values=-9)}
            Logits(read.sample_ids, read.labels, read.weight, heads, read.metadata).write(file)
    run(tmp_path, logits)
    pictures = json.loads((tmp_path / "inspection" / "pictures.json").read_text())
    assert set(pictures["classes"]) == set(CLASSES)
    planted = {sample(split, row) for split, wrong in WRONG.items() for row in wrong}
    assert {row["sample_id"] for row in listed(tmp_path)[:3]} == planted


def test_of_many_doubtful_labels_the_worst_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(labels_to_check, "MOST", 2)
    summary = run(tmp_path, write_collection(tmp_path))
    assert summary["labels"]["listed"] == len(listed(tmp_path)) == 2


def test_a_diverging_second_expert_does_not_hide_the_wrong_labels(tmp_path):
    logits = write_collection(tmp_path)
    for split in INSPECTED:
        path = logits[split][1]
        read = Logits.read(path)
        flat = np.random.default_rng(0).normal(size=read.values.shape).astype(np.float32)
        Logits(read.sample_ids, read.labels, read.weight, {"species": flat}, read.metadata).write(
            path
        )
    run(tmp_path, logits)
    planted = {sample(split, row) for split, wrong in WRONG.items() for row in wrong}
    assert {row["sample_id"] for row in listed(tmp_path)[:3]} == planted


def test_experts_of_other_samples_or_classes_are_refused(tmp_path):
    logits = write_collection(tmp_path)
    read = Logits.read(logits["dev"][1])
    table = pq.read_table(logits["dev"][1])
    pq.write_table(table.slice(1), logits["dev"][1])
    with pytest.raises(TailproofError, match=r"1-dev\.parquet.*differ in their samples"):
        HeldOutPredictions.read(logits, len(CLASSES))
    Logits(
        read.sample_ids, read.labels, read.weight, {"species": read.values[:, :3]}, read.metadata
    )
    with pytest.raises(TailproofError, match=r"4 classes, expected 5"):
        HeldOutPredictions.read(logits, 5)


def test_a_damaged_shard_is_named(tmp_path):
    logits = write_collection(tmp_path)
    (tmp_path / "shards" / "calib" / "part-00000.parquet").write_bytes(b"no parquet")
    with pytest.raises(TailproofError, match=r"calib/part-00000\.parquet"):
        run(tmp_path, logits)


def test_verified_labels_are_brought_back_as_the_page_says(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "inspect.md").read_text()
    corrected = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])["data"]
    (command,) = re.findall(r"^tailproof relabel (.*)$", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for name in ("=lynx/1.png", "=lynx/2.png", "otter/a b.png"):
        path = tmp_path / "raw" / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(np.full((4, 4), len(name) + int("2" in name), np.uint8)))
    source = {"name": "image_folder", "root": "raw/photos"}
    experiment = {"title": "T", "data": {"source": source}, "experts": {"plain": {}}}
    write_json("config/experiments/photos.yaml", experiment)
    prepare(Data.model_validate({"source": source}), "results/photos/samples.parquet")
    manifest = {"ranks": ["class"], "target": "class", "ancestors": {"class": {}},
                "classes": {"class": ["=lynx", "otter"]}}  # fmt: skip
    write_json("results/photos/shards/manifest.json", manifest)
    exported = [("sample_id", "verified"), ("=lynx/2.png", "otter"), ("otter/a b.png", "")]
    Path("verified.csv").write_text("".join(map(csv_line, exported)))
    name, answers, option, output = command.split()
    table = write_label_table(name, answers, output)
    assert option == "--output" and table.source == corrected["source"]
    samples = open_source(Data.model_validate(corrected).source).samples()
    assert {sample.sample_id: sample.labels["class"] for sample in samples} == {
        "=lynx/1.png": "=lynx", "=lynx/2.png": "otter", "otter/a b.png": "otter",
    }  # fmt: skip
