"""Cross-fitting by the real pipeline: classes of one to nine images, each tested once."""

import csv
import json

import numpy as np
from PIL import Image

from tests.project import Project

SIZES = [1, 2, 3, 5, 9, 9]
EXPERIMENT = {
    "title": "Tail",
    "data": {"source": {"name": "image_folder", "root": "raw/tail"}},
    "recipe": {"model": {"name": "cifar_resnet20"}, "epochs": 2, "batch_size": 8},
    "experts": {"balanced": {"loss": {"name": "balanced_softmax"}}},
    "evaluation": {"bootstrap": 100, "many_shot": 5, "few_shot": 3},
}


def write_collection(project: Project) -> None:
    rng = np.random.default_rng(0)
    for label, size in enumerate(SIZES):
        folder = project.folder / "raw" / "tail" / f"sp{label}"
        folder.mkdir(parents=True)
        for number in range(size):
            pixels = rng.integers(0, 30, (16, 16)) + 35 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    project.write("config/experiments/tail.yaml", EXPERIMENT)
    project.write("config/config.yaml", {"experiments": ["tail"], "results": "results"})


def test_every_image_is_tested_once_and_the_audit_holds(project):
    write_collection(project)
    missing = project.snakemake("results/tail/cross_fit/summary.csv")
    assert missing.returncode and "tailproof folds tail" in missing.stdout + missing.stderr
    assert project.tailproof("folds", "tail", "--of", "2").returncode == 0
    targets = ["results/tail/cross_fit/summary.csv", "results/tail-fold-1/audit.json"]
    done = project.snakemake(*targets)
    assert done.returncode == 0, done.stdout + done.stderr

    folder = project.folder / "results/tail/cross_fit"
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["sample_id"] for row in rows}) == len(rows) == sum(SIZES)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert sum(metrics["folds"].values()) == metrics["rows"] == sum(SIZES)
    assert json.loads((project.folder / targets[1]).read_text())["passed"]
    assert project.tailproof("audit", "tail").returncode == 0
    again = project.snakemake("-n", *targets)
    assert "Nothing to be done" in again.stdout + again.stderr

    project.write("config/experiments/tail.yaml", EXPERIMENT | {"seeds": [1]})
    changed = project.snakemake("-n", *targets)
    assert changed.returncode and "tail-fold-0.yaml" in changed.stdout + changed.stderr
    project.write("config/experiments/tail.yaml", EXPERIMENT)

    metrics["experts"]["balanced"]["seeds"]["0"]["test"]["top1"]["value"] = 0.99
    (folder / "metrics.json").write_text(json.dumps(metrics))
    altered = project.tailproof("audit", "tail")
    assert altered.returncode and "altered" in altered.stdout
