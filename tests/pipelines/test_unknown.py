"""The real pipeline with held-out classes, from raw data to audit and `predict --unknown`."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tailproof
from tailproof.config.evaluation import ENSEMBLES, STACKED
from tailproof.files import read_json
from tailproof.loading import Split
from tailproof.predict.unknown_scores_file import SCORED
from tailproof.runtime.errors import TailproofError
from tests.project import TINY, Project

RATE = 0.1


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("unknown"))
    data = TINY["data"] | {"unknown": {"classes": ["8", "9"]}}
    experts = {
        "plain": {"loss": {"name": "cross_entropy"}},
        "balanced": {"loss": {"name": "balanced_softmax"}},
    }
    project.write(
        "config/experiments/tiny.yaml",
        {**TINY, "data": data, "experts": experts, "guarantees": {"false_alarms": [RATE]}},
    )
    done = project.snakemake("results/tiny/audit.json")
    assert done.returncode == 0, done.stderr
    return project


def test_everything_is_proven(project):
    audit = read_json(project.results / "audit.json")
    assert audit["passed"], audit["broken"]
    paths = [artefact["path"].split("/") for artefact in audit["artefacts"]]
    stages = {path[3] for path in paths if path[2:3] == ["provenance"]}
    assert {"manifest_unknown", "score_unknown"} <= stages


def test_what_is_measured_is_on_the_page_and_in_the_folder(project):
    unknown = read_json(project.results / "evaluation" / "guarantees.json")["methods"]["plain"]
    assert unknown["unknown"]["rows"].keys() == {"tune", "test", "unknown_tune", "unknown_test"}
    page = (project.results / "report" / "index.html").read_text()
    assert '<section id="unknown">' in page
    stored = read_json(project.results / "experts" / "plain" / "seed-0" / "guarantees.json")
    assert stored["unknown"]["score"] == unknown["unknown"]["score"]


def test_a_copied_folder_says_unknown(project, tmp_path):
    expert = project.results / "experts" / "plain" / "seed-0"
    image = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(image).save(tmp_path / "noise.png")
    done = project.tailproof(
        "predict", str(expert), str(tmp_path / "noise.png"), "--csv", "--unknown", str(RATE)
    )
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["decision"] in ("unknown", "accept", "reject") and "unknown by" in done.stderr


@pytest.mark.parametrize("method", ENSEMBLES)
def test_an_ensemble_says_unknown_as_it_was_measured(project, method):
    """For every image of test: by the mean of the experts' scores, from their own files."""
    made = project.tailproof("bundle", "tiny", "--method", method)
    assert made.returncode == 0, made.stderr
    folder = project.results / "bundles" / method / "seed-0"
    split = Split(project.results / "shards" / "manifest.json", "test")
    images = [split.image(row) for row in range(len(split))]
    guarantees = read_json(project.results / "evaluation" / "guarantees.json")
    measured = guarantees["methods"][method]["unknown"]
    (answers,) = (
        row
        for row in measured["answers"]
        if row["score"] == measured["score"] and row["false_alarm"] == RATE
    )
    unknown = tailproof.open(folder).predict(images, unknown=RATE)["decision"] == "unknown"
    assert unknown.mean() == pytest.approx(answers["test"]["false_alarm"]["mean"], abs=1e-9)
    total = counted = 0.0
    for name, facts in read_json(folder / "bundle.json")["experts"].items():
        weight = facts["weight"] if method == STACKED else 1.0
        own = pd.read_parquet(project.results / "experts" / name / "seed-0" / SCORED)
        total += weight * own[own["split"] == "test"][measured["score"]].to_numpy().astype(float)
        counted += weight
    below = total / counted < answers["fits"]["0"]["threshold"]
    assert unknown.tolist() == below.tolist() and below.any()
    with pytest.raises(TailproofError, match=r"0\.5"):
        tailproof.open(folder).predict(images[:1], unknown=0.5)


def test_a_folder_of_pictures_changes_no_byte_of_an_expert(project):
    """`prepare` lists other pictures, so that what follows runs again, to the same experts."""
    others = project.folder / "raw" / "others"
    others.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(others / f"{number}.png")
    plain = project.copy(project.folder.with_name("plain"))
    plain.write("config/experiments/tiny.yaml", {**TINY, "experts": {"plain": {}}})
    done = plain.snakemake("results/tiny/evaluation/guarantees.json")
    assert done.returncode == 0, done.stderr
    source = {"source": {"name": "pictures", "root": "raw/others"}}
    data = TINY["data"] | {"unknown": source}
    plain.write("config/experiments/tiny.yaml", {**TINY, "data": data, "experts": {"plain": {}}})
    expert = plain.results / "experts" / "plain" / "seed-0" / "model.safetensors"
    before = expert.read_bytes()
    done = plain.snakemake("results/tiny/evaluation/guarantees.json")
    assert done.returncode == 0, done.stderr
    assert expert.read_bytes() == before
    methods = read_json(plain.results / "evaluation" / "guarantees.json")["methods"]
    assert methods["plain"]["unknown"]["rows"]["unknown_test"] == 4
