"""A sweep by successive halving through the real Snakemake, killed on the way."""

import json
import os
import re
import shutil
import signal
import time

import pandas as pd
import pytest

from tailproof.config.validation import parse_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.training.launcher import launch
from tests.project import ROOT, Project

NAME = "digits_sweep_small"
SELECTION = f"results/{NAME}/experts/winner/selection.json"
NOTHING = "Nothing to be done"


def small(halving=True):
    """The sweep that is shipped, over four points and three epochs."""
    value = read_yaml(ROOT / "config" / "experiments" / f"{NAME}.yaml")
    value["recipe"]["epochs"] = 3
    value["evaluation"]["bootstrap"] = 100
    grid = value["sweep"]["grid"]
    grid["optimizer.weight_decay"] = grid["optimizer.weight_decay"][:2]
    value["sweep"]["halving"]["rungs"] = [1, 2]
    if not halving:
        value["sweep"] = {"points": [{"name": "raw", "normalize": False}]}
        value["recipe"]["epochs"] = 1
    return value


def configure(project, value):
    project.write(f"config/experiments/{NAME}.yaml", value)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("swept"))
    project.write("config/config.yaml", {"experiments": [NAME]})
    configure(project, small())
    standing = project.folder / SELECTION.replace("selection", "rung-1")
    process, limit = project.start(), time.monotonic() + 300
    while not standing.exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project.folder / SELECTION).exists()
    assert project.snakemake("--unlock").returncode == 0
    done = project.snakemake("--rerun-incomplete")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def folder(swept):
    return swept.folder / "results" / NAME


def trained_next(project, *arguments):
    """The experts that Snakemake would train."""
    done = project.plan(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r": train ([\w.-]+), seed", done.stdout + done.stderr))


def test_only_the_winner_of_the_last_rung_is_evaluated(swept, folder):
    experiment = parse_experiment(small())
    selection = json.loads((folder / "experts/winner/selection.json").read_text())
    rungs = {each["point"]: each["rung"] for each in selection["points"]}
    assert list(rungs) == list(experiment.points)
    assert sorted(rungs.values()) == [1, 1, 2, 3]
    assert rungs[selection["winner"]] == 3
    assert {path.parts[-3] for path in folder.glob("experts/*/*/raw_logits")} == {"winner"}
    metrics = json.loads((folder / "evaluation/metrics.json").read_text())
    assert list(metrics["experts"]) == ["winner"]
    history = pd.read_csv(folder / "experts/winner/seed-0/history.csv")
    table = pd.read_csv(folder / "experts/winner/points.csv").set_index("point")
    won = table.loc[selection["winner"]]
    assert won["value"] == history["val_balanced_accuracy"].max()
    assert won["best_epoch"] == history["val_balanced_accuracy"].idxmax() + 1
    assert NOTHING in swept.plan().stdout


def test_the_winner_is_the_expert_that_one_run_without_rungs_gives(folder, tmp_path):
    experiment = parse_experiment(small())
    selection = json.loads((folder / "experts/winner/selection.json").read_text())
    recipe = experiment.points[selection["winner"]]
    manifest, own = folder / "shards/manifest.json", folder / "experts/winner/seed-0"
    launch(manifest, recipe, 0, tmp_path / "own", tmp_path, "code", tmp_path / "train.log")
    for name in ("model.safetensors", "config.json", "history.csv"):
        assert (tmp_path / "own" / name).read_bytes() == (own / name).read_bytes()


def test_choosing_reads_histories_and_nothing_else(folder):
    for record in folder.glob("provenance/*/*.json"):
        value = json.loads(record.read_text())
        if value["rule"] in ("promote", "selection"):
            names = {file["path"].rsplit("/", 1)[1] for file in value["inputs"]}
            assert names <= {"rung.csv", "history.csv", "rung-1.json", "rung-2.json"}
        if value["rule"] in ("rung", "train"):
            shards = [file["path"] for file in value["inputs"] if "/shards/" in file["path"]]
            assert not [path for path in shards if not re.search("/(train|val)/|manifest", path)]


def test_the_page_shows_points_and_heat_map(folder):
    page = (folder / "report/index.html").read_text()
    start = page.index('<section id="sweep">')
    section = page[start : page.index("</section>", start)]
    assert section.count('class="heat"') == 4
    assert section.count("<tr>") == 1 + 2 + 1 + 4
    assert "Rows: optimizer.weight_decay; columns: loss.label_smoothing." in section


def test_commands_of_the_ledger_know_sweeps(swept, tmp_path):
    project = swept.copy(tmp_path / "copy")
    for words in (
        ["audit", NAME],
        ["lineage", f"{SELECTION}#winner"],
        ["crate", NAME],
        ["log"],
    ):
        done = project.tailproof(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    shutil.rmtree(project.folder / ".snakemake")
    restored = project.tailproof("restore", NAME)
    assert restored.returncode == 0, restored.stderr
    assert NOTHING in project.plan().stdout


def test_a_value_added_to_the_grid_trains_its_points_and_then_the_places(swept, tmp_path):
    project, value = swept.copy(tmp_path / "copy"), small()
    value["sweep"]["grid"]["optimizer.weight_decay"].append(0.01)
    configure(project, value)
    trained = trained_next(project)
    points = {name for name in trained if not name.startswith("rung-")}
    assert points == {f"weight_decay-0.01--label_smoothing-{smooth}" for smooth in ("0", "0.1")}
    assert "rung-3-place-2" in trained


def test_a_point_added_trains_that_point_alone(swept, tmp_path):
    project, value = swept.copy(tmp_path / "copy"), small(halving=False)
    configure(project, value)
    done = project.snakemake(SELECTION)
    assert done.returncode == 0, done.stdout + done.stderr
    value["sweep"]["points"].append({"name": "added", "batch_size": 64})
    configure(project, value)
    trained = trained_next(project, SELECTION)
    assert trained == {"added"}


def test_a_key_that_does_not_exist_is_told_in_a_sentence(project):
    value = small()
    value["sweep"]["grid"]["optimizer.lerning_rate"] = [0.1]
    configure(project, value)
    done = project.plan(f"results/{NAME}/report/index.html")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert re.search(r"'optimizer\.lerning_rate'.*'optimizer\.learning_rate'", output)
    assert "Traceback" not in output
