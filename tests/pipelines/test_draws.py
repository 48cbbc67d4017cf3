"""Several draws of the splits by the real pipeline: compared, shown, audited and published."""

import csv
import json
import shutil

from tests.project import TINY
from tests.provenance.conftest import Checkout, add_dvc

EXPERIMENT = {
    **TINY,
    "data": {**TINY["data"], "seeds": [0, 1]},
    "recipe": {**TINY["recipe"], "epochs": 1, "sampler": "square_root"},
    "experts": {"plain": {}, "smoothed": {"loss": {"name": "label_aware_smoothing"}}},
}
SUMMARY, PAGE = "results/tiny/draws/summary.csv", "results/tiny/report/index.html"


def test_draws_are_compared_and_shown_while_they_are_of_the_experiment(project):
    project.write("config/experiments/tiny.yaml", EXPERIMENT)
    missing = project.snakemake(SUMMARY)
    assert missing.returncode and "tailproof draws tiny" in missing.stdout + missing.stderr
    assert project.tailproof("draws", "tiny").returncode == 0
    done = project.snakemake(SUMMARY)
    assert done.returncode == 0, done.stdout + done.stderr

    folder = project.folder / "results/tiny/draws"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [draw["data_seed"] for draw in metrics["draws"].values()] == [0, 1]
    with (folder / "per_draw.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["experiment"] for row in rows} == {"tiny", "tiny-draw-1"}
    assert len({row["mean"] for row in rows if row["metric"] == "nll"}) == len(
        [row for row in rows if row["metric"] == "nll"]
    )

    done = project.snakemake(PAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'id="draws"' in (project.folder / PAGE).read_text()
    audited = project.tailproof("audit", "tiny")
    assert audited.returncode == 0, audited.stdout
    again = project.snakemake("-n", SUMMARY, PAGE)
    assert "Nothing to be done" in again.stdout + again.stderr
    publish(project)

    project.write("config/experiments/tiny.yaml", EXPERIMENT | {"evaluation": {"bootstrap": 200}})
    changed = project.snakemake("-n", PAGE)
    told = changed.stdout + changed.stderr
    assert changed.returncode == 0 and "leaves out results/tiny/draws/metrics.json" in told


def publish(project):
    """What is made from several experiments is in DVC too."""
    checkout = Checkout(project.folder)
    add_dvc(checkout.folder)
    checkout.told("git", "init", "--quiet", "--initial-branch", "main")
    checkout.told("git", "add", "--", ".", ":!results")
    checkout.told("git", "commit", "--quiet", "--message", "Code")
    done = checkout.snakemake("results/tiny/audit.json")
    assert done.returncode == 0, done.stdout + done.stderr
    done = checkout.tailproof("publish", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    staged = checkout.told("git", "diff", "--cached", "--name-only").splitlines()
    assert {"results/tiny/draws.dvc", "results/tiny/provenance/draws/draws.json"} <= set(staged)
    folder = project.folder / "results/tiny/draws"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    checkout.told("dvc", "checkout", "results/tiny/draws.dvc")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
