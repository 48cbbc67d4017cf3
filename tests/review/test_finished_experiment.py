"""The commands on the results of the real pipeline, which stay as they are."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tailproof.data.image_files import find_images
from tailproof.data.images import decode
from tailproof.data.logits import Logits
from tailproof.data.shard_reader import rows_of
from tailproof.files import read_json
from tailproof.history import History
from tailproof.inspection.held_out_predictions import INSPECTED
from tailproof.retraining.relabel import write_label_table
from tailproof.review.review import review
from tailproof.runtime.errors import TailproofError
from tailproof.tracking.follow import follow, open_trackers
from tailproof.watch.page import Watched


@pytest.fixture
def inside(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    return finished


def test_samples_are_reviewed(inside, tmp_path):
    result = review("tiny", number=20, output=str(tmp_path / "queue"))
    folder = inside.results / "experts/cross_entropy/seed-0/logits"
    sizes = [len(Logits.read(folder / f"{split}.parquet").sample_ids) for split in INSPECTED]
    assert result.images == sum(sizes) and len(result.items) == 20 < result.chosen
    assert "far" not in result.reasons and any("features" in note for note in result.notes)
    with open(tmp_path / "queue/queue.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["image"].startswith("data:image/png") for row in rows)
    rows[0]["verified"] = "7"
    with open(tmp_path / "answers.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(TailproofError, match="larger files"):
        write_label_table("tiny", str(tmp_path / "answers.csv"), str(tmp_path / "labels.csv"))
    named = review("tiny", number=5, splits=["test", "val"], output=str(tmp_path / "named"))
    assert [note.partition(":")[0] for note in named.notes[:1]] == ["test"]
    assert len(named.notes) == 2  # no expert has features
    with pytest.raises(TailproofError, match="train"):
        review("tiny", number=5, splits=["train"], output=str(tmp_path / "other"))


def test_new_images_are_answered_as_those_of_the_splits(inside, tmp_path, capsys):
    manifest = inside.results / "shards/manifest.json"
    folder = tmp_path / "new" / "a b"
    folder.mkdir(parents=True)
    for number, (data, _) in enumerate(rows_of(manifest, read_json(manifest), "dev")):
        if number < 40:
            Image.fromarray(decode(data, "L")).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    shutil.copy(folder / "00.png", folder / "note.txt")
    assert len(find_images([folder], "L").files) == 41
    result = review("tiny", 100, images=str(tmp_path / "new"), output=str(tmp_path / "queue"))
    assert result.images == 40 and capsys.readouterr().err.count("broken.png") == 3
    experts = ("cross_entropy", "balanced_softmax", "logit_adjustment")
    for item in result.items:
        assert (item.label, item.split) == ("", "") and item.sample_id.startswith("a b/")
        row = int(item.sample_id[4:6])
        for expert in experts:
            stored = Logits.read(inside.results / f"experts/{expert}/seed-0/logits/dev.parquet")
            p = np.exp(stored.values[row] - np.logaddexp.reduce(stored.values[row]))
            assert item.votes[expert][1] == pytest.approx(p.max(), abs=2e-3)
    with open(tmp_path / "queue/queue.csv", newline="") as file:
        urls = {row["image"] for row in csv.DictReader(file)}
    assert urls and all(url.startswith("/data/local-files/?d=a%20b/") for url in urls)


def test_runs_are_watched_and_tracked_afterwards(inside, tmp_path):
    page = Watched.open("tiny").page(5)
    assert page.count('<tr class="finished"') == 3 and 'class="wrong"' not in page
    assert follow("tiny", open_trackers(str(tmp_path), None)) == 3
    for expert in ("cross_entropy", "balanced_softmax", "logit_adjustment"):
        place = inside.results / "experts" / expert / "seed-0"
        key = read_json(place / "training.json")["state"]
        events = EventAccumulator(str(tmp_path / "tiny" / f"{expert}-seed-0.{key}"))
        events.Reload()
        rows = History.read(place / "history.csv").rows
        assert [(one.step, one.value) for one in events.Scalars("val/loss")] == [
            (row["epoch"], pytest.approx(row["val_loss"])) for row in rows
        ]
