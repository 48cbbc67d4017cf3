"""The stages after training hold blocks of logits, not all of them: bytes are counted."""

import tracemalloc

import numpy as np
import pytest

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.export import export
from tailproof.config.calibration import Calibration
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.splits import CALIBRATED
from tailproof.data import logits
from tailproof.data.logits import LabelledSamples, LogitsFile, write_logits
from tailproof.data.tables import write_parquet
from tailproof.evaluation import sample_groups
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.task import Task
from tailproof.files import write_json
from tailproof.guarantees.guarantee import guarantee
from tailproof.inspection.held_out_predictions import INSPECTED, HeldOutPredictions
from tailproof.inspection.label_noise import doubt_labels

CLASSES, FEW = 1000, 100
ROWS = {"val": FEW, "calib": FEW, "tune": FEW, "dev": FEW, "test": 2500}
SPLIT_BYTES = 8 * CLASSES * ROWS["test"]
"""All probabilities of test of one method, in double precision: 20 MB."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Raw logits of two experts, drawn block by block, with a manifest and samples."""
    import pyarrow as pa

    root = tmp_path_factory.mktemp("memory")
    labels = {
        split: np.random.default_rng(place).integers(0, FEW, rows)
        for place, (split, rows) in enumerate(ROWS.items())
    }
    for seed, expert in enumerate(("plain", "balanced")):
        for split, own in labels.items():
            metadata = {
                "expert": expert,
                "seed": 0,
                "split": split,
                "target": "label",
                "weights_sha256": "0" * 64,
            }
            ids = np.array([f"{split}-{row}" for row in range(len(own))], object)
            samples = LabelledSamples(ids, {"label": own}, np.ones(len(own)), metadata)
            path = root / "raw_logits" / expert / f"{split}.parquet"
            write_logits(path, samples, {"label": CLASSES}, drawn(own, seed))
    names = [f"class {index}" for index in range(CLASSES)]
    counts = dict.fromkeys(names, 0) | {name: 2 * FEW - i for i, name in enumerate(names[:FEW])}
    write_json(
        root / "manifest.json",
        {
            "target": "label",
            "ranks": ["label"],
            "ancestors": {"label": {}},
            "classes": {"label": names},
            "splits": {"train": {"class_counts": {"label": counts}}},
        },
    )
    ids = [f"{split}-{row}" for split, rows in ROWS.items() for row in range(rows)]
    write_parquet(root / "samples.parquet", pa.table({"sample_id": ids, "group": ids}))
    return root


def drawn(labels, seed):
    rng = np.random.default_rng(seed)
    for start in range(0, len(labels), FEW):
        own = labels[start : start + FEW]
        values = rng.normal(size=(len(own), CLASSES)).astype(np.float32)
        values[np.arange(len(own)), own] += 6
        yield {"label": values}


def peak_of(stage, monkeypatch):
    """Return the bytes that a stage allocates at most, with blocks of 64 rows."""
    monkeypatch.setattr(logits, "BLOCK", 64 * CLASSES)
    monkeypatch.setattr(logits, "GROUP_LOGITS", 64 * CLASSES)
    monkeypatch.setattr(sample_groups, "GROUP_BLOCK", 64 * CLASSES)
    tracemalloc.start()
    try:
        stage()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_stage_holds_the_logits_of_a_split(folder, monkeypatch):
    files = {}
    for expert in ("plain", "balanced"):
        raw = {split: folder / "raw_logits" / expert / f"{split}.parquet" for split in CALIBRATED}
        out = {split: folder / "logits" / expert / f"{split}.parquet" for split in CALIBRATED}
        fitted = folder / f"{expert}.json"
        config = Calibration()
        calibrate({split: raw[split] for split in config.splits}, config, fitted)
        assert peak_of(lambda: export(raw, fitted, out), monkeypatch) < SPLIT_BYTES  # noqa: B023
        files[expert] = {0: out}
    evaluation = Evaluation(bootstrap=100)
    manifest = folder / "manifest.json"
    stages = {
        "evaluate": lambda: evaluate(files, manifest, evaluation, folder / "evaluation"),
        "guarantee": lambda: guarantee(
            files,
            manifest,
            folder / "samples.parquet",
            evaluation,
            Guarantees(),
            "many",
            folder / "evaluation",
        ),
        "inspect": lambda: doubt_labels(
            HeldOutPredictions.read(
                {split: [files[expert][0][split] for expert in files] for split in INSPECTED},
                CLASSES,
            ).mean,
            Task.read(manifest, evaluation).train_counts,
        ),
    }
    peaks = {name: peak_of(stage, monkeypatch) for name, stage in stages.items()}
    assert all(peak < 1.5 * SPLIT_BYTES for peak in peaks.values()), peaks


def test_blocks_have_the_same_rows_whatever_the_row_groups(folder, monkeypatch):
    monkeypatch.setattr(logits, "BLOCK", 64 * CLASSES)
    monkeypatch.setattr(logits, "GROUP_ROWS", 50)
    file = LogitsFile.open(folder / "raw_logits" / "plain" / "dev.parquet")
    write_logits(folder / "cut.parquet", file, file.classes, (block for _, block in file.blocks()))
    cut = LogitsFile.open(folder / "cut.parquet")
    assert [rows for rows, _ in file.blocks()] == [rows for rows, _ in cut.blocks()]
    chosen = np.array([0, 49, 50, 63, 64, 99])
    assert np.array_equal(file.take("label", chosen), cut.take("label", chosen))
