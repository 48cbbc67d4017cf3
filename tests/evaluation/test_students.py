"""How far students get from the best expert to the ensemble."""

import numpy as np
import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.method import Method
from tailproof.evaluation.students import measure_students
from tests.evaluation.drawn_experts import write_experts

CONFIG = Evaluation(many_shot=50, few_shot=20, bootstrap=100)


def method(name, kind, test, dev=0.5, noise=0.0):
    """A method with values on dev and test; resamples differ by a common noise and its own."""
    drawn = np.random.default_rng(0).normal(scale=0.01, size=201)
    own = np.random.default_rng(len(name)).normal(scale=noise, size=201)
    rows = {
        split: np.where(np.arange(201), value + drawn + own, value)
        for split, value in (("dev", dev), ("test", test))
    }
    values = {
        split: {metric: [of_split] for metric in ("balanced_accuracy", "top1")}
        for split, of_split in rows.items()
    }
    return Method(name, kind, {}, values=values)


def measured(student, **ensemble):
    methods = [
        method("plain", "expert", 0.60, dev=0.4),
        method("better", "expert", 0.62, dev=0.6),
        method("student", "expert", student, dev=0.7),
        method("stacked", "ensemble", **({"test": 0.66} | ensemble)),
    ]
    return measure_students({own.name: own for own in methods}, ["student"], "test")["student"]


def test_the_share_is_of_the_distance_from_the_best_expert_on_dev():
    values = measured(0.65)
    assert values["best_expert"] == "better" and values["ensemble"] == "stacked"
    accuracy = values["balanced_accuracy"]
    assert accuracy["gained"]["difference"] == pytest.approx(0.03)
    assert accuracy["missing"]["difference"] == pytest.approx(0.01)
    assert accuracy["share"]["value"] == pytest.approx(0.75)
    assert accuracy["beyond_half"]["difference"] == pytest.approx(0.01)
    assert accuracy["beyond_half"]["low"] > 0


def test_a_student_below_half_of_the_distance_is_below_zero():
    assert measured(0.63)["balanced_accuracy"]["beyond_half"]["high"] < 0


def test_there_is_no_share_of_an_uncertain_distance():
    accuracy = measured(0.62, test=0.621, noise=0.05)["balanced_accuracy"]
    assert accuracy["share"] is None and accuracy["beyond_half"]["low"] is not None


def test_a_resample_without_a_distance_has_no_share():
    """Accuracies of few samples are often equal, and JSON has no infinite number."""
    values = {"plain": 0.5, "student": 0.75, "stacked": 1.0}
    kinds = {name: "ensemble" if name == "stacked" else "expert" for name in values}
    rows = {name: np.full(41, value) for name, value in values.items()}
    rows["stacked"][40] = 0.5
    methods = {
        name: Method(
            name,
            kinds[name],
            {},
            values={"test": {metric: [own] for metric in ("balanced_accuracy", "top1")}}
            | {"dev": {"balanced_accuracy": [own]}},
        )
        for name, own in rows.items()
    }
    share = measure_students(methods, ["student"], "test")["student"]["top1"]["share"]
    assert share == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_metrics_have_students_only_where_there_are_some(tmp_path):
    files = write_experts(tmp_path, ("plain", "adjusted", "third"))
    manifest = tmp_path / "manifest.json"
    metrics = evaluate(files, manifest, CONFIG, tmp_path, students=["third"])
    for split in ("dev", "test"):
        values = metrics["students"][split]["third"]["top1"]
        paired = metrics["paired"][split]["stacked - third"]["top1"]
        assert values["missing"] == paired
    assert "students" not in evaluate(files, manifest, CONFIG, tmp_path)
