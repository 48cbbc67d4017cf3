"""The stage teach: the ensemble's answers for the training samples."""

import numpy as np
import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation.ensembles import combine
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.teacher import Teaching, teach
from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError
from tests.evaluation.drawn_experts import SIZES, write_experts

CONFIG = Evaluation(many_shot=50, few_shot=20, bootstrap=100)
TRAINED = SIZES | {"train": 200}
NAMES = ("plain", "adjusted", "third")
TEMPERATURE = 1.5


def taught_by(folder, names=NAMES, train=200):
    """Drawn experts of one seed, and their files for the stage teach."""
    files = write_experts(folder, names, (0,), SIZES | {"train": train})
    experts = {}
    for name, seeds in files.items():
        calibration = folder / f"{name}.json"
        write_json(
            calibration,
            {
                "temperature": TEMPERATURE,
                "fit_on": ["calib"],
                "weights_sha256": "0" * 64,
                "other_ranks": {},
            },
        )
        experts[name] = Teaching(seeds[0]["train"], calibration, seeds[0]["tune"])
    return files, experts


def test_the_teacher_is_the_ensemble_of_the_evaluation_without_students(tmp_path):
    files, experts = taught_by(tmp_path)
    metrics = evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path, students=["third"])
    weights = metrics["ensembles"]["stacked"]["weights"]["0"]
    assert set(weights) == {"plain", "adjusted"} and set(metrics["experts"]) == set(NAMES)
    output = tmp_path / "teacher.parquet"
    facts = teach({name: experts[name] for name in weights}, 0, output)
    taught = Logits.read(output)
    raw = [Logits.read(experts[name].raw) for name in weights]
    calibrated = np.stack([own.values for own in raw]) / TEMPERATURE
    expected = combine("stacked", calibrated, np.array(list(weights.values())))
    np.testing.assert_allclose(taught.values, expected, atol=1e-5)
    assert list(taught.sample_ids) == list(raw[0].sample_ids)
    assert facts["weights"] == pytest.approx(weights, abs=1e-6)
    right = expected.argmax(axis=1) == taught.target
    recall = [right[taught.target == index].mean() for index in range(expected.shape[1])]
    assert facts["train"]["balanced_accuracy"] == pytest.approx(np.mean(recall))


def test_the_same_logits_give_the_same_bytes(tmp_path):
    _, experts = taught_by(tmp_path)
    for name in ("a", "b"):
        teach(experts, 0, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_experts_of_other_samples_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, experts = taught_by(tmp_path / "a", ("plain",))
    _, others = taught_by(tmp_path / "b", ("adjusted",), train=100)
    with pytest.raises(TailproofError, match="different samples"):
        teach(experts | others, 0, tmp_path / "teacher.parquet")


def test_a_calibration_of_other_weights_is_refused(tmp_path):
    _, experts = taught_by(tmp_path)
    path = experts["third"].calibration
    write_json(path, read_json(path) | {"weights_sha256": "1" * 64})
    with pytest.raises(TailproofError, match="--forcerun infer calibrate"):
        teach(experts, 0, tmp_path / "teacher.parquet")
