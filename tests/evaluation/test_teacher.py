"""The stage teach: the ensemble's answers for the training samples."""

import numpy as np
import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation.ensembles import combine
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.teacher import teach
from tailproof.runtime.errors import TailproofError
from tests.evaluation.drawn_experts import SIZES, write_experts

CONFIG = Evaluation(many_shot=50, few_shot=20, bootstrap=100)


def test_the_teacher_is_the_ensemble_of_the_evaluation_without_students(tmp_path):
    names = ("plain", "adjusted", "third")
    files = write_experts(tmp_path, names, (0,), SIZES | {"train": 200})
    metrics = evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path, students=["third"])
    weights = metrics["ensembles"]["stacked"]["weights"]["0"]
    assert set(weights) == {"plain", "adjusted"} and set(metrics["experts"]) == set(names)
    teachers = {name: files[name][0] for name in weights}
    teach(teachers, 0, tmp_path / "teacher.parquet")
    taught = Logits.read(tmp_path / "teacher.parquet")
    train = [Logits.read(paths["train"]) for paths in teachers.values()]
    expected = combine(
        "stacked",
        np.stack([own.values for own in train]),
        train[0].target,
        np.array(list(weights.values())),
    )
    np.testing.assert_allclose(taught.values, expected.log_p, atol=1e-5)
    assert list(taught.sample_ids) == list(train[0].sample_ids)
    assert taught.metadata["weights"] == pytest.approx(weights, abs=1e-6)


def test_experts_of_other_samples_are_refused(tmp_path):
    files = write_experts(tmp_path / "a", ("plain",), (0,), SIZES | {"train": 200})
    other = write_experts(tmp_path / "b", ("adjusted",), (0,), SIZES | {"train": 100})
    experts = {"plain": files["plain"][0], "adjusted": other["adjusted"][0]}
    with pytest.raises(TailproofError, match="other samples"):
        teach(experts, 0, tmp_path / "teacher.parquet")
