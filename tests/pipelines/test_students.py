"""Students by the real pipeline, from raw data to audit, page, bundle and `predict`."""

import csv
import io
import re
from pathlib import Path

import pytest

from tailproof.data.logits import Logits
from tailproof.digests import sha256_file
from tailproof.files import read_json
from tailproof.loading import Split
from tailproof.provenance.cross_checks import CrossChecks
from tailproof.runtime.ledger import read_ledger
from tests.field.forged_records import rewrite_records
from tests.project import TINY, Project

EXPERTS = {
    "cross_entropy": {"loss": {"name": "cross_entropy"}},
    "balanced_softmax": {"loss": {"name": "balanced_softmax"}},
    "student": {"loss": {"name": "balanced_softmax"}, "distill": {"from": "stacked"}},
}
TEACHER, STUDENT = "experts/teacher-0.parquet", "experts/student/seed-0/model.safetensors"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("students"))
    project.write("config/experiments/tiny.yaml", {**TINY, "experts": EXPERTS})
    done = project.snakemake("results/tiny/audit.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def planned(project, experts) -> set[str]:
    """The jobs of training and teaching that would run after a change of the experts."""
    project.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    done = project.plan("results/tiny/audit.json")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^Job \d+: tiny: ((?:train|teach) .+)$", done.stdout + done.stderr, re.M)
    project.write("config/experiments/tiny.yaml", {**TINY, "experts": EXPERTS})
    return {job.removesuffix(", seed 0") for job in jobs}


def test_everything_is_proven(project):
    audit = read_json(project.results / "audit.json")
    assert audit["passed"], audit["broken"]
    paths = [artefact["path"].split("/") for artefact in audit["artefacts"]]
    assert {"teach", "cost"} <= {path[3] for path in paths if path[2:3] == ["provenance"]}
    record = read_json(project.results / "provenance" / "train" / "student-0.json")
    digests = {file["path"]: file["sha256"] for file in record["inputs"]}
    teacher = project.results / TEACHER
    assert digests[f"results/tiny/{TEACHER}"] == sha256_file(teacher)


def test_the_answers_are_for_train_in_its_order(project):
    train = Split(project.results / "shards" / "manifest.json", "train")
    answers = Logits.read(project.results / TEACHER)
    assert list(answers.sample_ids) == train.sample_ids
    record = read_json(project.results / "provenance" / "teach" / "teacher-0.json")
    assert record["results"]["teacher"]["weights"].keys() == {"cross_entropy", "balanced_softmax"}


def test_the_page_compares_students_experts_and_ensemble(project):
    metrics = read_json(project.results / "evaluation" / "metrics.json")
    assert metrics["students"]["test"]["student"]["balanced_accuracy"]["gained"]["low"] is not None
    assert metrics["ensembles"]["stacked"]["weights"]["0"].keys() == {
        "cross_entropy",
        "balanced_softmax",
    }
    cost = read_json(project.results / "experts" / "cost.json")["methods"]
    single, ensemble = cost["student"], cost["stacked"]
    for name in ("parameters", "multiply_adds"):
        assert ensemble[name] == 2 * single[name] > 0
    assert min(own["images_per_second"] for own in cost.values()) > 0
    page = (project.results / "report" / "index.html").read_text()
    assert '<section id="students">' in page and 'id="student-costs"' in page


def test_a_student_predicts_like_any_expert(project):
    split = Split(project.results / "shards" / "manifest.json", "dev")
    images = project.folder / "images"
    images.mkdir()
    for row in range(3):
        (images / f"{row}.png").write_bytes(split.encoded(row))
    folder = project.results / "experts" / "student" / "seed-0"
    done = project.tailproof("predict", str(folder), "images", "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    logits = Logits.read(folder / "logits" / "dev.parquet")
    classes = split.manifest["classes"][split.manifest["target"]]
    assert [row["class"] for row in rows] == [classes[i] for i in logits.values[:3].argmax(axis=1)]
    assert "distill" in (folder / "README.md").read_text().lower()
    bundle = read_json(project.results / "bundles" / "stacked" / "seed-0" / "bundle.json")
    assert "student" not in bundle["experts"]


def test_another_temperature_trains_the_student_alone(project):
    student = EXPERTS["student"] | {"distill": {"from": "stacked", "temperature": 4.0}}
    assert planned(project, EXPERTS | {"student": student}) == {"train student"}


def test_another_expert_is_another_teacher(project):
    changed = EXPERTS | {"cross_entropy": {"loss": {"name": "cross_entropy"}, "epochs": 3}}
    assert planned(project, changed) == {
        "train cross_entropy",
        "teach with the ensemble of seed 0",
        "train student",
    }


def test_forged_answers_contradict_the_experts(project, tmp_path, monkeypatch):
    forged = project.copy(tmp_path / "forged")
    path = forged.results / TEACHER
    answers = Logits.read(path)
    heads = {rank: 2 * values for rank, values in answers.heads.items()}
    Logits(answers.sample_ids, answers.labels, answers.weight, heads, answers.metadata).write(path)
    rewrite_records(forged.folder)
    monkeypatch.chdir(forged.folder)
    ledger = read_ledger("tiny")
    folder = Path("results/tiny")
    (sentence,) = CrossChecks(folder, ledger, ledger.files.keys()).contradictions()
    assert sentence.startswith(f"results/tiny/{TEACHER}")


def test_the_same_inputs_give_the_same_bytes(project):
    paths = [project.results / TEACHER, project.results / STUDENT]
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    done = project.snakemake(*(f"results/tiny/{path}" for path in (TEACHER, STUDENT)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.read_bytes() for path in paths] == before
