"""The shipped experiment on simulated lenses, tinier, by the real pipeline, and the probe."""

import csv
import json

import yaml

from tailproof.operating_points import POINTS
from tests.project import ROOT, TINY


def test_lenses_go_through_and_are_probed(project):
    shipped = yaml.safe_load((ROOT / "config/experiments/lens_small.yaml").read_text())
    shipped["data"]["source"] |= {"lenses": 60, "controls_per_lens": 10, "size": 24}
    shipped["data"]["splits"] = {}
    shipped["recipe"] |= {"epochs": 1, "monitor": "tpr_at_fpr_0", "precision": "fp32"}
    del shipped["experts"]["cross_entropy"]
    project.write(
        "config/experiments/tiny.yaml",
        shipped | {"seeds": [0], "evaluation": TINY["evaluation"]},
    )
    for target in ("shortcuts.json", "audit.json"):
        done = project.snakemake(f"results/tiny/{target}")
        assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((project.results / "evaluation/metrics.json").read_text())
    assert metrics["positive"] == "lens"
    assert any("too few for tpr_at_fpr_1e-3 (1,000)" in note for note in metrics["notes"])
    with open(project.results / "evaluation/low_fpr.csv", newline="") as file:
        assert [row["metric"] for row in csv.DictReader(file)] == [*POINTS, *POINTS]
    folder = project.results / "experts/focal/seed-0"
    with open(folder / "history.csv", newline="") as file:
        assert "tpr_at_fpr_0" in next(csv.reader(file))
    config = json.loads((folder / "config.json").read_text())
    assert config["pretrained_cfg"]["input_size"] == [4, 24, 24]
    assert len(config["pretrained_cfg"]["mean"]) == 4
    reached = json.loads((project.results / "shortcuts.json").read_text())["reached"]
    assert reached["file_size"]["auroc"] == 0.5
    page = (project.results / "report/index.html").read_text()
    assert "<h3>Rare events</h3>" in page and "too few for tpr_at_fpr_1e-3 (1,000)" in page
    audited = json.loads((project.results / "audit.json").read_text())
    states = {each["path"]: each["state"] for each in audited["artefacts"]}
    assert audited["passed"] and states["results/tiny/shortcuts.json"] == "proven"
