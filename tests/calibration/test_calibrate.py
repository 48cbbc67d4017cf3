import json

import numpy as np
import pytest

from tailproof.calibration.calibrate import calibrate, scores
from tailproof.calibration.export import export
from tailproof.config.calibration import Calibration
from tailproof.config.splits import SPLITS
from tailproof.data.logits import Logits
from tailproof.runtime.errors import TailproofError


def write(path, split, samples=300, sha="ab" * 32, labels=None, sharpness=3.0, seed=0):
    rng = np.random.default_rng([seed, len(split)])
    if labels is None:
        labels = rng.integers(0, 4, samples)
    values = rng.normal(size=(len(labels), 4)) + 1.5 * np.eye(4)[labels]
    Logits(
        np.array([f"{split}-{row}" for row in range(len(labels))], object),
        {"label": np.asarray(labels, np.int64)},
        np.ones(len(labels)),
        {"label": (values * sharpness).astype(np.float32)},
        {"expert": "ce", "seed": 0, "split": split, "target": "label", "weights_sha256": sha},
    ).write(path)
    return path


def calibrated(raw, config=None, output=None):
    """Calibrate on raw logits of calib; those of tune are drawn from the same distribution."""
    tune = write(raw.with_name("tune.parquet"), "tune")
    output = output or raw.with_name("calibration.json")
    return calibrate({"calib": raw, "tune": tune}, config or Calibration(), output)


def test_calibration_lowers_what_it_minimises(tmp_path):
    raw = write(tmp_path / "calib.parquet", "calib")
    found = calibrated(raw)
    assert found == json.loads((tmp_path / "calibration.json").read_text())
    assert found["temperature"] > 1.5
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["after"]["ece"] < found["before"]["ece"]
    assert found["samples"] == 300
    assert found["classes_present"] == 4
    assert found["weights_sha256"] == "ab" * 32
    assert found["warnings"] == []
    logits = Logits.read(raw)
    assert found["before"] == scores(logits.values, logits.target)
    assert set(found["before"]) == set(found["after"]) > {"nll", "ece", "ece_debiased", "brier"}
    assert (found["calibrator"], found["fit_on"]) == ("temperature", ["calib"])
    assert found["choice"] is None


def test_the_same_input_gives_the_same_bytes(tmp_path):
    raw = write(tmp_path / "calib.parquet", "calib")
    for name in ("a.json", "b.json"):
        calibrated(raw, Calibration(weighting="class_balanced"), tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_few_samples_and_absent_classes_are_recorded(tmp_path):
    raw = write(tmp_path / "calib.parquet", "calib", labels=[0, 1, 0, 1, 1] * 7)
    found = calibrated(raw)
    assert len(found["warnings"]) == 2
    assert "only 35 samples" in found["warnings"][0]
    assert found["warnings"][1] == "2 classes have no sample in calib, out of 4"


def test_calib_without_a_label_is_refused(tmp_path):
    raw = write(tmp_path / "calib.parquet", "calib", labels=[])
    with pytest.raises(TailproofError, match=r"calib\.parquet .*'\w+', expected at least one"):
        calibrated(raw)
    assert not (tmp_path / "calibration.json").exists()


@pytest.mark.parametrize("labels", [[2], [2, 2, 2]])
def test_calib_of_one_class_is_enough_and_says_so(tmp_path, labels):
    raw = write(tmp_path / "calib.parquet", "calib", labels=labels)
    fitted = calibrated(raw)
    assert 0.05 <= fitted["temperature"] <= 20 and fitted["classes_present"] == 1
    assert "3 classes have no sample in calib, out of 4" in fitted["warnings"]


@pytest.mark.parametrize("split", [split for split in SPLITS if split != "calib"])
def test_only_calib_sets_a_temperature(tmp_path, split):
    raw = write(tmp_path / "logits.parquet", split)
    with pytest.raises(TailproofError, match=f"'{split}', expected 'calib'"):
        calibrated(raw)


def test_export_divides_every_split(tmp_path):
    raw = {split: write(tmp_path / f"raw-{split}.parquet", split) for split in SPLITS}
    outputs = {split: tmp_path / "logits" / f"{split}.parquet" for split in SPLITS}
    found = calibrated(raw["calib"])
    export(raw, tmp_path / "calibration.json", outputs)
    for split in SPLITS:
        before, after = Logits.read(raw[split]), Logits.read(outputs[split])
        assert after.temperature == found["temperature"]
        assert after.metadata["weights_sha256"] == "ab" * 32
        assert after.metadata["split"] == split
        np.testing.assert_allclose(after.values * after.temperature, before.values, rtol=1e-6)
        assert np.array_equal(after.values.argmax(axis=1), before.values.argmax(axis=1))
    exported = Logits.read(outputs["calib"])
    after = scores(exported.values, exported.target)
    assert after["nll"] <= found["after"]["nll"], "each fold was calibrated by the others"


def test_export_refuses_logits_of_other_weights(tmp_path):
    raw = {split: write(tmp_path / f"raw-{split}.parquet", split) for split in ("calib", "test")}
    calibrated(raw["calib"])
    write(raw["test"], "test", sha="cd" * 32)
    outputs = {split: tmp_path / f"{split}.parquet" for split in raw}
    with pytest.raises(
        TailproofError, match=r"raw-test\.parquet .*cdcdcd.*calibration\.json.*ababab"
    ):
        export(raw, tmp_path / "calibration.json", outputs)
    assert not outputs["test"].exists()


def test_export_refuses_a_file_of_another_split(tmp_path):
    raw = write(tmp_path / "calib.parquet", "calib")
    calibrated(raw)
    with pytest.raises(TailproofError, match=r"calib\.parquet .*'calib', expected 'test'"):
        export({"test": raw}, tmp_path / "calibration.json", {"test": tmp_path / "out.parquet"})


def test_each_head_has_a_temperature_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 4, 400)
    coarse = np.where(rng.random(400) < 0.2, -1, fine // 2)
    heads = {
        "coarse": 5 * (rng.normal(size=(400, 2)) + 1.5 * np.eye(2)[fine // 2]),
        "fine": 2 * (rng.normal(size=(400, 4)) + 1.5 * np.eye(4)[fine]),
    }
    raw = {"calib": tmp_path / "raw.parquet", "tune": tmp_path / "tune.parquet"}
    for split, path in raw.items():
        facts = {"expert": "ce", "seed": 0, "split": split, "target": "fine"}
        Logits(
            np.array([f"s{row}" for row in range(400)], object),
            {"coarse": coarse, "fine": fine},
            np.ones(400),
            {rank: each.astype(np.float32) for rank, each in heads.items()},
            facts | {"weights_sha256": "ab" * 32},
        ).write(path)
    found = calibrate(raw, Calibration(), tmp_path / "calibration.json")
    other = found["other_ranks"]["coarse"]
    assert other["samples"] == (coarse >= 0).sum()
    assert other["temperature"] > found["temperature"] > 1
    export(
        {"calib": tmp_path / "raw.parquet"},
        tmp_path / "calibration.json",
        {"calib": tmp_path / "calib.parquet"},
    )
    after = Logits.read(tmp_path / "calib.parquet")
    np.testing.assert_allclose(
        after.heads["coarse"] * other["temperature"], heads["coarse"], rtol=1e-5
    )
