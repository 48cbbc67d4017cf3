"""The queue: why an image is in it, its order, and the way of the answers back."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.special import log_softmax, rel_entr
from sklearn.neighbors import NearestNeighbors

from tailproof.config.validation import parse_experiment
from tailproof.data.logits import Logits
from tailproof.evaluation.deployment import Deployment, FittedRule
from tailproof.features.store import FeatureWriter, part_path
from tailproof.files import write_json
from tailproof.inspection.held_out_predictions import INSPECTED
from tailproof.retraining.verified_labels import VerifiedLabels
from tailproof.review.answers import Vote, collect_answers, voters_of
from tailproof.review.distances import how_far, nearest_distances
from tailproof.review.queue import Images, order_by_usefulness
from tailproof.review.review import COLUMNS, review
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import plain_cell
from tests.project import TINY
from tests.report.chromium import show
from tests.report.drawn_results import CLASSES, _write_shard

THRESHOLD = 0.6
SIZES = {"train": 50, "val": 20, "dev": 30}


@pytest.fixture
def project(drawn, tmp_path, monkeypatch):
    """The drawn experiment as a project; its experts reject what is below a threshold."""
    folder, experiment = drawn
    shutil.copytree(folder, tmp_path / "results" / "drawn")
    for place in (tmp_path / "results/drawn/experts").glob("*/seed-*"):
        rule = FittedRule(
            coverage=0.9, shift=(0.0, 0.0), gain=(1.0, 1.0), multiplier=(0.0, 0.0),
            threshold=THRESHOLD - 1,  # the score is the largest probability less their sum
        )  # fmt: skip
        Deployment(
            experiment="drawn", expert=place.parent.name, seed=int(place.name[5:]),
            weights_sha256="0" * 64, images="RGB", tail=list(CLASSES[-2:]), coverage=0.9,
            rules={"chow": [rule]},
        ).write(place / "deployment.json")  # fmt: skip
    path = tmp_path / "config/experiments/drawn.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(experiment.model_dump(mode="json", exclude_unset=True)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_students_are_no_voters():
    experts = {"a": {}, "b": {}, "student": {"distill": {"from": "stacked"}}}
    experiment = parse_experiment({**TINY, "experts": experts, "seeds": [0, 1]}, "tiny")
    assert voters_of(experiment) == {name: [(name, 0), (name, 1)] for name in ("a", "b")}


def table(path):
    with open(path, newline="") as file:
        return [{k: plain_cell(v) for k, v in row.items()} for row in csv.DictReader(file)]


def probabilities(split):
    """Mean probabilities of each expert, by an independent path through the files."""
    means = {}
    for expert in ("plain", "adjusted"):
        files = [Logits.read(f"results/drawn/experts/{expert}/seed-{s}/logits/{split}.parquet")
                 for s in (0, 1)]  # fmt: skip
        p = [np.exp(log_softmax(one.values.astype(float), axis=1)) for one in files]
        means[expert] = (np.mean(p, axis=0), [one.max(axis=1) < THRESHOLD for one in p])
        ids = files[0].sample_ids
    return ids, means


def test_the_queue_has_the_images_with_a_reason(project):
    result = review("drawn", number=10_000)
    rows = {row["sample_id"]: row for row in table("review/drawn/queue.csv")}
    assert list(next(iter(rows.values()))) == ["image", *COLUMNS]
    doubts = {row["sample_id"] for row in table("results/drawn/inspection/labels_to_check.csv")}
    expected = {}
    for split in INSPECTED:
        ids, means = probabilities(split)
        (first, low), (second, other) = means.values()
        rejected = (np.mean(low, axis=0) + np.mean(other, axis=0)) / 2 >= 0.5
        disagree = first.argmax(1) != second.argmax(1)
        for number, sample in enumerate(ids):
            reasons = {"rejected": rejected[number], "disagree": disagree[number],
                       "suspect": sample in doubts}  # fmt: skip
            if any(reasons.values()):
                expected[sample] = {name for name, holds in reasons.items() if holds}
                mean = (first[number] + second[number]) / 2
                row = rows[sample]
                assert row["suggested_label"] == CLASSES[mean.argmax()]
                assert float(row["probability"]) == pytest.approx(mean.max(), abs=1e-4)
    assert {sample: set(row["reasons"].split(", ")) for sample, row in rows.items()} == expected
    assert {row["split"] for row in rows.values()} <= set(INSPECTED)
    assert result.chosen == len(rows) and result.reasons["suspect"] == len(doubts)
    assert result.reasons["rejected"] > 0 < result.reasons["disagree"]
    scores = [float(row["score"]) for row in table("review/drawn/queue.csv")]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] <= 1
    assert all(row["image"].startswith("/data/local-files/?d=") for row in rows.values())


def test_the_divergence_is_that_of_jensen_and_shannon():
    rng = np.random.default_rng(0)
    voters = rng.dirichlet(np.ones(5), (3, 40))
    accepted = np.ones(40, bool)
    answers = collect_answers((f"v{n}", [Vote(p, accepted)]) for n, p in enumerate(voters))
    mean = voters.mean(axis=0)
    expected = rel_entr(voters, mean).sum(axis=2).mean(axis=0) / np.log(3)
    assert answers.divergence == pytest.approx(expected)
    alone = collect_answers([("v", [Vote(voters[0], ~accepted)])])
    assert not alone.divergence.any() and not alone.disagree.any() and alone.rejected.all()


def test_two_reasons_come_before_one_of_them():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.9, 0.1]])
    votes = [("a", [Vote(p, np.array([True, False, False, True]))])]
    images = Images(
        np.array(["clear", "rejected", "both", "suspect"]), "dev", np.array([0, 1, 1, -1]),
        collect_answers(votes), {"both": 0.5, "suspect": 0.5},
    )  # fmt: skip
    items = order_by_usefulness([images], ["x", "y"])
    assert [(item.sample_id, item.score) for item in items] == [
        ("both", pytest.approx(0.7)), ("suspect", pytest.approx(0.5)),
        ("rejected", pytest.approx(0.4)),
    ]  # fmt: skip
    assert items[1].label == "" and list(items[0].reasons) == ["suspect", "rejected"]
    far = replace(images, far=np.array([0.8, 0, 0, 0]))
    assert order_by_usefulness([far], ["x", "y"])[0].reasons == {"far": 0.8}


def test_test_is_looked_at_only_where_it_is_named(project):
    logits = Logits.read("results/drawn/experts/plain/seed-0/logits/test.parquet")
    rows = np.array_split(np.arange(len(logits.target)), 2)
    for part, of_part in enumerate(rows):
        path = project / f"results/drawn/shards/test/part-{part:05d}.parquet"
        _write_shard(path, "test", of_part, logits.target)
    result = review("drawn", splits=["val", "test"], output="first")
    assert {item.split for item in result.items} == {"val", "test"}
    assert result.notes[0].startswith("test: ")
    with pytest.raises(TailproofError, match="did you mean 'test'"):
        review("drawn", splits=["tets"])
    with pytest.raises(TailproofError, match=r"queue\.csv exists"):
        review("drawn", output="first")
    with pytest.raises(TailproofError, match="--images"):
        review("drawn", splits=["val"], images=".")


def test_the_page_shows_hostile_names_as_they_are(project, browser):
    review("drawn", number=24)
    path = Path("review/drawn/index.html").resolve()
    for width in (320, 1200):
        show(browser, path, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []
    loaded = browser.execute_script("return [...document.images].map(each => each.naturalWidth)")
    assert len(loaded) == 24 and all(loaded)
    assert not re.search(r"<script", path.read_text())
    text = browser.find_element("tag name", "main").text
    assert any(name in text for name in CLASSES if "<" in name)


def answered(path, output, answers):
    """Fill in the column verified, as a person with a spreadsheet does."""
    with open(path, newline="") as file:
        rows = [*csv.reader(file)]
    at = rows[0].index("verified")
    for row, name in zip(rows[1:], answers, strict=False):
        row[at] = name
    with open(output, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_answers_come_back_from_every_form_of_export(project):
    review("drawn", number=4)
    rows = table("review/drawn/queue.csv")
    names = [CLASSES[0], "", CLASSES[1], CLASSES[2]]
    wanted = {row["sample_id"]: name for row, name in zip(rows, names, strict=True) if name}
    answered("review/drawn/queue.csv", "answers.csv", names)
    data = [{key: row[key] for key in row if key != "verified"} for row in rows]

    def annotation(name):
        result = {"from_name": "verified", "type": "choices", "value": {"choices": [name]}}
        return {"was_cancelled": False, "result": [result]}

    full = [
        {"id": 1, "data": task, "annotations": [annotation(name)] if name else []}
        for task, name in zip(data, names, strict=True)
    ]
    full[1]["annotations"] = [annotation("skipped") | {"was_cancelled": True}]
    flat = [task | ({"verified": n} if n else {}) for task, n in zip(data, names, strict=True)]
    Path("full.json").write_text(json.dumps(full))
    Path("flat.json").write_text(json.dumps(flat))
    for name in ("answers.csv", "full.json", "flat.json"):
        assert VerifiedLabels.read(name) == (wanted, 1), name


@pytest.mark.parametrize(
    "value", [{}, [], [1], [{"data": {"id": 3}}], [{"data": []}], [{"id": 3}], "x"]
)  # fmt: skip
def test_json_of_something_else_is_refused(tmp_path, value):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value))
    with pytest.raises(TailproofError, match="Label Studio"):
        VerifiedLabels.read(path)


def test_annotations_without_an_answer_are_counted(tmp_path):
    path = tmp_path / "x.json"
    odd = [
        None,
        {"result": None},
        {"result": [{"from_name": "other", "value": {"choices": ["a"]}}]},
    ]
    good = {"result": [{"from_name": "verified", "value": {"choices": ["a"]}}]}
    tasks = [{"data": {"sample_id": n}, "annotations": [one]} for n, one in enumerate([*odd, good])]
    path.write_text(json.dumps(tasks))
    assert VerifiedLabels.read(path) == ({"3": "a"}, 3)
    path.write_text(json.dumps([tasks[3], tasks[3] | {"annotations": [good, good]}]))
    assert VerifiedLabels.read(path) == ({"3": "a"}, 0)


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_distances_are_those_to_the_nearest_training_image(tmp_path):
    rng = np.random.default_rng(0)
    values = {split: rng.normal(size=(count, 2, 6)) for split, count in SIZES.items()}
    for split, features in values.items():
        facts = {"layers": [["a", 4], ["b", 2]], "dtype": "float32", "shard_sha256": split}
        path = part_path(tmp_path / "features", split, 0)
        path.parent.mkdir(parents=True)
        ids, none = [f"{split}-{row}" for row in range(len(features))], np.zeros(len(features))
        with FeatureWriter(path, ranks=["x"], views=2, facts=facts) as writer:
            writer.write(ids, {"x": none.astype(int)}, none, features.astype(np.float32))
    shards = {split: {"shards": [{"path": "x", "sha256": split}]} for split in SIZES}
    write_json(tmp_path / "manifest.json", {"ranks": ["x"], "splits": shards})
    found = nearest_distances([tmp_path / "features"], tmp_path / "manifest.json", ("val", "dev"))
    oracle = NearestNeighbors(n_neighbors=1).fit(unit(values["train"][:, 0]))
    for split in ("val", "dev"):
        expected = oracle.kneighbors(unit(values[split][:, 0]))[0][:, 0]
        assert found[split] == pytest.approx(expected, abs=2e-3)


def test_far_is_beyond_the_others():
    rng = np.random.default_rng(0)
    near = np.exp(rng.normal(-1, 0.2, 1000))
    assert (how_far(near, near) > 0).mean() < 0.01
    assert how_far(np.array([0.3, 3.0, 30.0]), near).tolist() == pytest.approx(
        [0, 0.7271, 0.8646], abs=0.03
    )
    assert np.isfinite(how_far(np.zeros(3), np.zeros(3))).all()
