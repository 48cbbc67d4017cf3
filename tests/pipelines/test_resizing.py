"""The shipped comparison of schedules, in a tinier form, by the real pipeline."""

import csv
import re

import timm
import yaml

from tailproof.data.tables import read_parquet
from tailproof.files import read_json
from tests.project import ROOT

TINIER = {
    "data": {
        "source": {"name": "digits"},
        "long_tail": {"kind": "step", "imbalance": 1, "n_max": 30},
    }
}
FOLDER = "results/small/experts/progressive_at_32/seed-0"


def tinier():
    """Return fixres_small with 300 digits, an epoch a phase and one seed."""
    path = ROOT / "config" / "experiments" / "fixres_small.yaml"
    shipped = yaml.safe_load(path.read_text())
    shipped["recipe"] |= {"epochs": 3, "precision": "fp32"}
    for recipe in shipped["experts"].values():
        for epoch, phase in enumerate(recipe.get("phases", []), start=1):
            phase["from_epoch"] = epoch
    return shipped | TINIER | {"seeds": [0]}


def test_growing_sizes_are_trained_on_and_a_larger_one_is_inferred_on(project):
    project.write("config/experiments/small.yaml", tinier())
    done = project.snakemake(f"{FOLDER}/logits/test.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    expert = project.folder / FOLDER
    with open(expert / "history.csv", newline="") as file:
        assert [row["image_size"] for row in csv.DictReader(file)] == ["16", "22", "28"]
    assert [phase["to_epoch"] for phase in read_json(expert / "training.json")["phases"]] == [
        1,
        2,
        3,
    ]
    model = timm.create_model(f"local-dir:{expert}", pretrained=True)
    assert timm.data.resolve_model_data_config(model)["input_size"] == (1, 32, 32)
    assert len(read_parquet(expert / "logits" / "test.parquet"))


def test_a_phase_without_augmentation_is_warned_of_before_anything_runs(project):
    experiment = tinier()
    experiment["experts"]["progressive"]["phases"][-1]["augmentation"] = {}
    project.write("config/experiments/small.yaml", experiment)
    done = project.plan("results/small/report/index.html")
    assert done.returncode == 0, done.stderr
    expected = r"'progressive', 'progressive_at_32'.*\bphase 3\b.*\bepoch 3\b"
    assert re.search(expected, done.stdout + done.stderr)
    experiment["experts"]["progressive"]["phases"][-1]["from_epoch"] = 2
    project.write("config/experiments/small.yaml", experiment)
    done = project.plan("results/small/report/index.html")
    assert done.returncode
    assert re.search(r"\bphase 3\b.*\bepoch 2\b.*\bphase 2\b", done.stdout + done.stderr)
