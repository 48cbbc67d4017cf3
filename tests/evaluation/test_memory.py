"""The stages after training hold blocks of logits, not all of them: bytes are counted."""

import tracemalloc

import numpy as np
import pytest

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.export import export
from tailproof.calibration.metrics import ClasswiseError
from tailproof.config.calibration import Calibration
from tailproof.data import logits
from tailproof.data.logits import LabelledSamples, LogitsFile, write_logits
from tailproof.evaluation.predictions import predict_ensemble, predict_expert
from tailproof.evaluation.rejection import GroupTops
from tailproof.guarantees.prediction_sets import PROCEDURES, SetHits, SetRule, TrueScores
from tailproof.guarantees.roll_up import AnswersByRank, Rank
from tailproof.inspection import label_noise
from tailproof.inspection.held_out_predictions import HeldOutPredictions
from tailproof.inspection.label_noise import doubt_labels

CLASSES, FEW = 500, 100
ROWS = {"calib": FEW, "tune": FEW, "test": 6000}
SPLIT_BYTES = 8 * CLASSES * ROWS["test"]
"""All probabilities of test of one method, in double precision: 24 MB.

Reading calibration.json alone takes 16 MB."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Raw logits, drawn block by block."""
    root = tmp_path_factory.mktemp("memory")
    for split, rows in ROWS.items():
        own = np.random.default_rng(rows).integers(0, FEW, rows)
        metadata = {
            "expert": "plain",
            "seed": 0,
            "split": split,
            "target": "label",
            "weights_sha256": "0" * 64,
        }
        ids = np.array([f"{split}-{row}" for row in range(rows)], object)
        samples = LabelledSamples(ids, {"label": own}, np.ones(rows), metadata)
        path = root / "raw_logits" / "plain" / f"{split}.parquet"
        write_logits(path, samples, {"label": CLASSES}, drawn(own))
    return root


def drawn(labels):
    rng = np.random.default_rng(0)
    for start in range(0, len(labels), FEW):
        own = labels[start : start + FEW]
        values = rng.normal(size=(len(own), CLASSES)).astype(np.float32)
        values[np.arange(len(own)), own] += 6
        yield {"label": values}


def peak_of(stage, monkeypatch):
    """Return the bytes that a stage allocates at most, with blocks of 64 rows."""
    monkeypatch.setattr(logits, "BLOCK", 64 * CLASSES)
    monkeypatch.setattr(logits, "GROUP_LOGITS", 64 * CLASSES)
    tracemalloc.start()
    try:
        stage()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_step_holds_the_logits_of_a_split(folder, monkeypatch):
    config, raw, fitted = Calibration(), folder / "raw_logits" / "plain", folder / "plain.json"
    calibrate({split: raw / f"{split}.parquet" for split in config.splits}, config, fitted)
    path = folder / "test.parquet"
    peaks = {
        "export": peak_of(
            lambda: export({"test": raw / "test.parquet"}, fitted, {"test": path}), monkeypatch
        )
    }
    files = [LogitsFile.open(path)] * 2
    prediction = predict_ensemble("mean_probabilities", files, np.ones(2))
    labels, counts = prediction.labels, np.ones((2, ROWS["test"]), np.uint16)
    shares, head = np.full(CLASSES, 1 / CLASSES), np.arange(CLASSES) < FEW
    rules = [SetRule(name, 0.9, np.array([0.5])) for name in PROCEDURES]
    collectors = [
        ClasswiseError(labels, CLASSES, counts),
        GroupTops(prediction, [head, ~head]),
        TrueScores(labels, shares),
        SetHits(labels, shares, rules),
        AnswersByRank(len(labels), [Rank("label", ["a", "b"], head.astype(int))]),
    ]
    peaks["collect"] = peak_of(lambda: prediction.collect({}, once=collectors), monkeypatch)
    held_out = HeldOutPredictions(files[0].sample_ids, labels, predict_expert(files[0]))
    monkeypatch.setattr(label_noise, "ELEMENTS", 64 * CLASSES)
    peaks["inspect"] = peak_of(
        lambda: doubt_labels(held_out.mean, np.ones(CLASSES, int)), monkeypatch
    )
    assert all(peak < SPLIT_BYTES for peak in peaks.values()), peaks


def test_blocks_have_the_same_rows_whatever_the_row_groups(folder, monkeypatch):
    monkeypatch.setattr(logits, "BLOCK", 64 * CLASSES)
    monkeypatch.setattr(logits, "GROUP_ROWS", 50)
    file = LogitsFile.open(folder / "raw_logits" / "plain" / "calib.parquet")
    write_logits(folder / "cut.parquet", file, file.classes, (block for _, block in file.blocks()))
    cut = LogitsFile.open(folder / "cut.parquet")
    assert [rows for rows, _ in file.blocks()] == [rows for rows, _ in cut.blocks()]
    chosen = np.array([0, 49, 50, 63, 64, 99])
    assert np.array_equal(file.take("label", chosen), cut.take("label", chosen))
