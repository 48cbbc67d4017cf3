"""The real pipeline with held-out classes, from raw data to audit and `predict --unknown`."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from tailproof.files import read_json
from tests.project import TINY, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("unknown"))
    data = TINY["data"] | {"unknown": {"classes": ["8", "9"]}}
    experts = {"plain": {"loss": {"name": "cross_entropy"}}}
    project.write("config/experiments/tiny.yaml", {**TINY, "data": data, "experts": experts})
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
        "predict", str(expert), str(tmp_path / "noise.png"), "--csv", "--unknown", "0.05"
    )
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["decision"] in ("unknown", "accept", "reject") and "unknown by" in done.stderr


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
