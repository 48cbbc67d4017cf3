"""The real pipeline with held-out classes, from raw data to audit and `predict --unknown`."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import tailproof
from tailproof.bundle.bundle import bundle
from tailproof.bundle.inputs import Sources
from tailproof.config.evaluation import ENSEMBLES
from tailproof.config.validation import load_experiment
from tailproof.data.tables import read_parquet
from tailproof.files import read_json, write_json
from tailproof.loading import Split
from tailproof.runtime.errors import TailproofError
from tests.project import TINY, Project

EXPERTS = ("plain", "balanced")
SCORES = "unknown_scores.parquet"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("unknown"))
    data = TINY["data"] | {"unknown": {"classes": ["8", "9"]}}
    experts = {
        "plain": {"loss": {"name": "cross_entropy"}},
        "balanced": {"loss": {"name": "balanced_softmax"}},
    }
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


def files(project, file: str) -> dict:
    return {name: project.results / "experts" / name / "seed-0" / file for name in EXPERTS}


def mean_scores(project, score: str, weights: list[float]) -> dict[str, np.ndarray]:
    """The scores of an ensemble by split, from the files of its experts."""
    tables = [read_parquet(path).to_pandas() for path in files(project, SCORES).values()]
    mean = np.average([table[score] for table in tables], axis=0, weights=weights)
    return {split: mean[tables[0]["split"] == split] for split in set(tables[0]["split"])}


def images_of(project, name: str) -> list[np.ndarray]:
    manifest = "unknown.json" if name.startswith("unknown") else "manifest.json"
    split = Split(project.results / "shards" / manifest, name)
    return [split.image(row)[..., 0] for row in range(len(split))]


@pytest.mark.parametrize("method", ENSEMBLES)
def test_a_bundle_says_unknown_as_it_was_evaluated(project, method):
    done = project.tailproof("bundle", "tiny", "--method", method)
    assert done.returncode == 0, done.stderr
    folder = project.results / "bundles" / method / "seed-0"
    measured = read_json(project.results / "evaluation" / "guarantees.json")["methods"][method]
    own = measured["unknown"]
    (row,) = (
        row for row in own["answers"] if row["score"] == own["score"] and row["false_alarm"] == 0.05
    )
    experts = read_json(folder / "bundle.json")["experts"].values()
    scores = mean_scores(project, own["score"], [expert["weight"] for expert in experts])
    threshold, reached = row["fits"]["0"]["threshold"], row["test"]
    ensemble, decided = tailproof.open(folder), {}
    for split in ("test", "unknown_test"):
        table = ensemble.predict(images_of(project, split), unknown=0.05)
        decided[split] = (table["decision"] == "unknown").to_numpy()
        assert decided[split].tolist() == (scores[split] < threshold).tolist()
    assert decided["test"].mean() == pytest.approx(reached["false_alarm"]["mean"], abs=1e-6)
    assert 1 - decided["unknown_test"].mean() == pytest.approx(reached["missed"]["mean"], abs=1e-6)
    page = (project.results / "report" / "index.html").read_text()
    section = page[page.index('<section id="unknown">') :]
    assert method in section[: section.index("</section>")]


def test_the_audit_computes_a_bundle_again(project):
    done = project.tailproof("bundle", "tiny")
    assert done.returncode == 0, done.stderr
    done = project.tailproof("audit", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    path = project.results / "bundles" / "stacked" / "seed-0" / "guarantees.json"
    value = read_json(path)
    value["unknown"]["false_alarms"][0]["threshold"] += 0.01
    content = path.read_bytes()
    write_json(path, value)
    done = project.tailproof("audit", "tiny")
    path.write_bytes(content)
    assert done.returncode and "bundles/stacked/seed-0/guarantees.json" in done.stdout


@pytest.mark.parametrize("score", ["knn", "mahalanobis"])
def test_a_bundle_has_the_features_that_its_score_needs(project, tmp_path, score):
    """With rules of another score, as if it had been the best on tune."""
    config = load_experiment(project.folder / "config" / "experiments" / "tiny.yaml")
    scores = mean_scores(project, score, [1, 1])
    threshold = float(np.quantile(scores["test"], 0.3))
    rules = read_json(project.results / "evaluation" / "guarantee_rules.json")
    unknown = rules["mean_logits"]["0"]["unknown"]
    unknown["score"], unknown["false_alarms"][0]["threshold"] = score, threshold
    write_json(tmp_path / "guarantee_rules.json", rules)
    logits = {
        (name, split): path
        for split in ("val", "calib", "tune")
        for name, path in files(project, f"logits/{split}.parquet").items()
    }
    sources = Sources(
        experiment="tiny",
        title="",
        method="mean_logits",
        seed=0,
        experts=EXPERTS,
        weights=files(project, "model.safetensors"),
        configs=files(project, "config.json"),
        calibrations=files(project, "calibration.json"),
        logits=logits,
        manifest=project.results / "shards" / "manifest.json",
        samples=project.results / "samples.parquet",
        metrics=project.results / "evaluation" / "metrics.json",
        rules=tmp_path / "guarantee_rules.json",
        known=files(project, "unknown.safetensors"),
    )
    bundle(sources, config.evaluation, config.guarantees, tmp_path / "bundle")
    rate, ensemble = unknown["false_alarms"][0]["rate"], tailproof.open(tmp_path / "bundle")
    for split in ("test", "unknown_test"):
        table = ensemble.predict(images_of(project, split), unknown=rate)
        clear = abs(scores[split] - threshold) > 1e-4 * abs(threshold)
        unknown = table["decision"] == "unknown"
        assert (unknown == (scores[split] < threshold))[clear].all() and clear.mean() > 0.95
    other = files(project, "model.safetensors")
    with pytest.raises(TailproofError, match="--forcerun score_unknown"):
        bundle(replace(sources, known=other), config.evaluation, config.guarantees, tmp_path / "b")


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
