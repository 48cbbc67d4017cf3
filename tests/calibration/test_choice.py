import json

import numpy as np
import pytest

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.calibrated_logits import calibrator_of
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.choice import check, choose
from tailproof.calibration.export import export
from tailproof.calibration.metrics import log_probabilities
from tailproof.config.calibration import Calibration
from tailproof.data.logits import Logits
from tailproof.runtime.errors import TailproofError

ALL = ["temperature", "vector", "matrix"]
SKEWED = Calibrator(1.0, np.array([0.3, 1.8, 1.0]), np.array([-0.76, 0.96, 0.12]))
"""Its classes are equally frequent, as those of the raw logits."""


def write(path, split, samples, true, seed=0, sha="ab" * 32):
    """Logits whose labels come from the softmax of a true calibrator."""
    rng = np.random.default_rng([seed, len(split)])
    logits = 2 * rng.normal(size=(samples, 3))
    p = np.exp(log_probabilities(true.apply(logits)))
    labels = (p.cumsum(axis=1) > rng.random((samples, 1))).argmax(axis=1)
    facts = {"expert": "ce", "seed": 0, "split": split, "target": "label", "weights_sha256": sha}
    ids = np.array([f"{split}-{row}" for row in range(samples)], object)
    values = {"label": logits.astype(np.float32)}
    Logits(ids, {"label": labels}, np.ones(samples), values, facts).write(path)
    return path


def calibrated(folder, true, samples=600, **config):
    splits = Calibration(**config).splits
    raw = {split: write(folder / f"{split}.parquet", split, samples, true) for split in splits}
    return calibrate(raw, Calibration(**config), folder / "calibration.json"), raw


def test_a_skewed_expert_gets_more_than_a_temperature_and_the_file_says_why(tmp_path):
    fitted, raw = calibrated(tmp_path, SKEWED, calibrators=ALL)
    assert fitted["calibrator"] in ("vector", "matrix")
    assert list(fitted["choice"]) == ALL
    difference = fitted["choice"][fitted["calibrator"]]["nll_difference"]
    assert difference["low"] < difference["value"] < difference["high"] < 0
    assert "nll_difference" not in fitted["choice"]["temperature"]
    assert fitted["after"]["nll"] < fitted["before"]["nll"]
    read = CalibrationFile.read(tmp_path / "calibration.json")
    assert read.calibrators("label")["label"].kind == fitted["calibrator"]
    export({"calib": raw["calib"]}, tmp_path / "calibration.json", {"calib": tmp_path / "out"})
    after, before = Logits.read(tmp_path / "out"), Logits.read(raw["calib"])
    undone = log_probabilities(calibrator_of(after.metadata).undo(after.values))
    assert undone == pytest.approx(log_probabilities(before.values), abs=1e-4)


def test_an_expert_that_needs_no_more_keeps_the_first(tmp_path):
    fitted, _ = calibrated(tmp_path, Calibrator(1.4), calibrators=ALL)
    assert fitted["calibrator"] == "temperature" and "factors" not in fitted
    first_vector, _ = calibrated(tmp_path, Calibrator(1.4), calibrators=["vector", "temperature"])
    assert first_vector["calibrator"] == "vector"


def test_a_lower_nll_at_the_expense_of_rare_classes_is_not_chosen():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [950, 50])  # of a class that is common and one that is rare
    logits = 3 * np.eye(2)[labels] + 2 * rng.normal(size=(1000, 2))  # as for balanced classes
    undo = Calibrator(1.0, np.ones(2), np.log([0.95, 0.05]))
    chosen, reached = choose({"temperature": Calibrator(), "vector": undo}, logits, labels, "plain")
    assert reached["vector"]["nll_difference"]["high"] < 0
    assert reached["vector"]["balanced_accuracy_difference"]["high"] < 0
    assert chosen == "temperature"


def long_tailed(path, split, samples, share, scale, seed=0):
    """Logits that are a posterior under equal shares, times a scale; labels have other shares."""
    rng = np.random.default_rng([seed, len(split)])
    labels = rng.choice(4, samples, p=share)
    logits = 2.5 * np.eye(4)[labels] + rng.normal(size=(samples, 4)) * 1.58
    facts = {"expert": "ce", "seed": 0, "split": split, "target": "label"}
    ids = np.array([f"{split}-{row}" for row in range(samples)], object)
    values = {"label": (scale * logits).astype(np.float32)}
    facts["weights_sha256"] = "ab" * 32
    Logits(ids, {"label": labels}, np.ones(samples), values, facts).write(path)
    return path


TAIL, FLAT = [0.85, 0.1, 0.03, 0.02], [0.25] * 4


def test_an_expert_of_a_long_tail_is_calibrated_for_the_shares_of_tune(tmp_path):
    """The softmax of cross-entropy is a posterior under the shares of train alone."""
    rng = np.random.default_rng(0)
    raw = {split: tmp_path / f"{split}.parquet" for split in ("calib", "tune", "test")}
    for split, samples, share in (("calib", 900, TAIL), ("tune", 900, FLAT), ("test", 4000, FLAT)):
        long_tailed(raw[split], split, samples, share, scale=1.0)
        logits = Logits.read(raw[split])
        logits.heads["label"][:] += 0.8 * np.log(TAIL) + rng.normal(0, 0.01, (samples, 4))
        logits.write(raw[split])
    reached, test = {}, Logits.read(raw.pop("test"))
    for weighting in ("plain", "like_tune"):
        fitted = calibrate(raw, Calibration(weighting=weighting), tmp_path / "out.json")
        assert fitted["weighting"] == weighting
        calibrator = CalibrationFile.read(tmp_path / "out.json").to_calibrator()
        log_p = log_probabilities(calibrator.apply(test.values))
        reached[weighting] = -log_p[np.arange(4000), test.target].mean()
    assert reached["like_tune"] < reached["plain"]


def test_calibration_that_makes_tune_worse_is_not_used(tmp_path):
    raw = {"calib": long_tailed(tmp_path / "calib.parquet", "calib", 900, FLAT, 3.0)}
    raw["tune"] = long_tailed(tmp_path / "tune.parquet", "tune", 900, FLAT, 1.0)
    fitted = calibrate(raw, Calibration(), tmp_path / "out.json")
    assert (fitted["calibrator"], fitted["temperature"]) == ("temperature", 1.0)
    assert fitted["check"]["harmful"] and fitted["before"] == fitted["after"]
    (warning,) = fitted["warnings"]
    assert "no calibrator is used" in warning
    sound = calibrated(tmp_path, Calibrator(1.6))[0]
    assert sound["check"]["harmful"] == [] and sound["check"]["nll"]["high"] < 0
    assert sound["temperature"] > 1.2


def test_without_samples_of_tune_nothing_is_checked(tmp_path):
    nothing = np.empty((0, 3)), np.empty(0, int)
    assert check(Calibrator(2.0), *nothing, "plain") is None


def test_val_and_calib_are_fitted_together(tmp_path):
    fitted, _ = calibrated(tmp_path, Calibrator(), samples=150, fit_on="val_and_calib")
    assert (fitted["samples"], fitted["fit_on"]) == (300, ["val", "calib"])
    assert fitted["warnings"] == []
    assert json.loads((tmp_path / "calibration.json").read_text()) == fitted


def test_scores_after_are_of_samples_that_were_not_fitted(tmp_path):
    """A vector of noise fits its own samples better than others, which the scores must show."""
    rng = np.random.default_rng(0)
    facts = {"expert": "ce", "seed": 0, "split": "calib", "target": "label"}
    samples, classes = 60, 8
    raw = {split: tmp_path / f"{split}.parquet" for split in ("calib", "tune")}
    for split, path in raw.items():
        count = samples if split == "calib" else 5
        Logits(
            np.array([f"s{row}" for row in range(count)], object),
            {"label": rng.integers(0, classes, count)},
            np.ones(count),
            {"label": rng.normal(0, 0.1, (count, classes)).astype(np.float32)},
            facts | {"weights_sha256": "ab" * 32, "split": split},
        ).write(path)
    config = Calibration(calibrators=["vector"], weighting="plain")
    fitted = calibrate(raw, config, tmp_path / "out.json")
    logits = Logits.read(tmp_path / "calib.parquet")
    own = CalibrationFile.read(tmp_path / "out.json").to_calibrator().apply(logits.values)
    in_sample = -log_probabilities(own)[np.arange(samples), logits.target].mean()
    assert in_sample < fitted["before"]["nll"]
    assert in_sample < fitted["after"]["nll"] - 0.03


def test_splits_of_other_networks_are_refused(tmp_path):
    raw = {split: tmp_path / f"{split}.parquet" for split in ("val", "calib", "tune")}
    write(raw["tune"], "tune", 50, Calibrator())
    write(raw["val"], "val", 50, Calibrator(), sha="cd" * 32)
    write(raw["calib"], "calib", 50, Calibrator())
    config = Calibration(fit_on="val_and_calib")
    with pytest.raises(TailproofError, match=r"calib\.parquet .*abab.*val\.parquet with cdcd"):
        calibrate(raw, config, tmp_path / "calibration.json")
    with pytest.raises(TailproofError, match=r"expected raw logits .*val, calib, .* found .*calib"):
        calibrate({"calib": raw["calib"]}, config, tmp_path / "calibration.json")


@pytest.mark.parametrize(
    "change",
    [
        {"calibrator": "vector"},
        {"factors": [1.0, 1.0]},
        {"calibrator": "vector", "factors": [1.0, 1.0], "bias": [0.0]},
        {"calibrator": "vector", "factors": [[1.0, 0.0], [0.0, 1.0]], "bias": [0.0, 0.0]},
        {"calibrator": "matrix", "factors": [1.0, 1.0], "bias": [0.0, 0.0]},
        {"calibrator": "matrix", "factors": [[1.0, 0.0], [0.0]], "bias": [0.0, 0.0]},
        {"calibrator": "vector", "factors": [1.0, -1.0], "bias": [0.0, 0.0]},
        {"calibrator": "vector", "factors": [1.0, 1.0], "bias": [0.0, 1e9]},
        {"calibrator": "spline"},
    ],
)
def test_a_calibration_file_that_does_not_hold_together_is_refused(tmp_path, change):
    sound = {"temperature": 1.5, "weights_sha256": "ab" * 32, "other_ranks": {}}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(sound | change))
    with pytest.raises(TailproofError, match=r"calibration\.json"):
        CalibrationFile.read(path)
    path.write_text(json.dumps(sound))
    assert CalibrationFile.read(path).to_calibrator() == Calibrator(1.5)
