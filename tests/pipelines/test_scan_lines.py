"""The shipped scan-line experiment, in a tinier form, by the real pipeline."""

import json

import yaml

from tests.project import ROOT


def test_lines_are_learnt_and_measured_class_by_class(project):
    shipped = yaml.safe_load((ROOT / "config/experiments/scan_lines_small.yaml").read_text())
    shipped["data"]["source"] |= {"scans": 30, "lines": 48, "pixels": 16, "window": 4}
    shipped["recipe"] |= {"epochs": 1, "precision": "fp32"}
    for name in ("line_encoder", "causal"):
        size = {"img_size": [4, 16], "dim": 16, "depth": 1}
        shipped["experts"][name]["model"]["options"] |= size
    del shipped["experts"]["pictures"]
    project.write(
        "config/experiments/small.yaml",
        shipped | {"seeds": [0], "evaluation": {"bootstrap": 100, "many_shot": 20, "few_shot": 5}},
    )
    done = project.snakemake("results/small/report/index.html")
    assert done.returncode == 0, done.stdout + done.stderr
    results = project.folder / "results/small"
    metrics = json.loads((results / "evaluation/metrics.json").read_text())
    for name in ("line_encoder", "causal"):
        reached = metrics["experts"][name]["over_seeds"]["test"]["auroc_one_vs_rest"]
        assert 0 < reached["low"] <= reached["mean"] <= reached["high"] < 1
    assert "AUROC, one vs rest" in (results / "report/index.html").read_text()
