"""Lists, JSON files, archives and parquet, by the sources that recognize them."""

import io
import json
import tarfile
from collections import Counter

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image

from tailproof.config.validation import load_experiment
from tailproof.importer import import_collection
from tests.importer.writers import write_pictures, write_text

SPECIES = ("lynx", "otter", "wolf")


def encoded(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def coco_json(root):  # iNaturalist
    images = [
        {"id": i, "file_name": f"pictures/{i}.jpg", "width": 9, "height": 8} for i in range(30)
    ]
    write_pictures(root, [image["file_name"] for image in images])
    annotations = [{"id": i, "image_id": i, "category_id": i % 3} for i in range(30)]
    categories = [{"id": i, "name": name} for i, name in enumerate(SPECIES)]
    value = {"images": images, "annotations": annotations, "categories": categories}
    write_text(root / "train.json", json.dumps(value))


def image_list(root):  # ImageNet-LT
    names = [f"train/{SPECIES[i % 3]}/{i}.jpg" for i in range(30)]
    write_pictures(root, names)
    write_text(root / "train.txt", "".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))


def huggingface_folder(root):
    names = [f"{i:03d}.png" for i in range(30)]
    write_pictures(root / "train", names)
    rows = [
        json.dumps({"file_name": name, "label": SPECIES[i % 3]}) for i, name in enumerate(names)
    ]
    write_text(root / "train" / "metadata.jsonl", "\n".join(rows))


def webdataset(root):
    root.mkdir()
    with tarfile.open(root / "train-000000.tar", "w") as tar:
        for i in range(30):
            for suffix, data in (("png", encoded(i)), ("cls", str(i % 3).encode())):
                member = tarfile.TarInfo(f"{i:06d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def parquet(root):
    root.mkdir()
    images = [{"bytes": encoded(i), "path": None} for i in range(30)]
    table = pa.table({"image": images, "label": [SPECIES[i % 3] for i in range(30)]})
    pq.write_table(table, root / "train.parquet")


@pytest.mark.parametrize(
    "write",
    [coco_json, image_list, huggingface_folder, webdataset, parquet],
    ids=lambda w: w.__name__,
)
def test_a_format_is_imported(write, tmp_path, monkeypatch):
    name = write.__name__
    (tmp_path / "config" / "experiments").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "raw")
    result = import_collection("raw", "x")
    assert result.choice.name == name
    assert Counter(result.collection.counts.values()) == {10: 3}
    assert load_experiment("config/experiments/x.yaml").data.source.name == name
    assert min(result.splits.values()) > 0


def test_a_test_set_without_labels_is_not_used(tmp_path, monkeypatch):  # labels of -1 on the Hub
    (tmp_path / "raw").mkdir()
    for split, count in (("train", 30), ("validation", 12), ("test", 12)):
        labels = [-1 if split == "test" else n % 2 for n in range(count)]
        first = {"train": 0, "validation": 100, "test": 200}[split]
        images = [{"bytes": encoded(first + n), "path": None} for n in range(count)]
        features = Features(image=Image(), label=ClassLabel(names=["cat", "dog"]))
        table = Dataset.from_dict({"image": images, "label": labels}, features)
        table.to_parquet(tmp_path / "raw" / f"{split}-00000-of-00001.parquet")
    (tmp_path / "config" / "experiments").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    result = import_collection("raw", "x")
    assert result.collection.pools == {"train": 30, "test": 12}
    assert any("test" in doubt for doubt in result.choice.recognition.doubts)
