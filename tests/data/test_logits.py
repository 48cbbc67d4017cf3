import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.calibration.calibrated_logits import calibrate_block, check_calibrators
from tailproof.calibration.calibrated_logits import calibrated_metadata as calibrated
from tailproof.calibration.calibrator import Calibrator
from tailproof.data.logits import Logits
from tailproof.data.tables import read_parquet, with_metadata, write_parquet
from tailproof.runtime.errors import TailproofError

METADATA = {
    "expert": "ce",
    "seed": 0,
    "split": "calib",
    "target": "fine",
    "weights_sha256": "ab" * 32,
}


def logits(samples=5, classes=3, **changes):
    rng = np.random.default_rng(0)
    fields = {
        "sample_ids": np.array([f"s{row}" for row in range(samples)], dtype=object),
        "labels": {
            "coarse": np.zeros(samples, np.int64),
            "fine": np.arange(samples, dtype=np.int64) % classes,
        },
        "weight": np.linspace(0.5, 1.5, samples),
        "heads": {"fine": rng.normal(size=(samples, classes)).astype(np.float32)},
        "metadata": METADATA,
    }
    return Logits(**{**fields, **changes})


def calibrate_logits(raw, calibrators):
    heads = calibrate_block(raw.heads, calibrators)
    return replace(raw, heads=heads, metadata=calibrated(raw.metadata, calibrators))


def test_what_is_written_is_read_back(tmp_path):
    written = logits()
    written.write(tmp_path / "calib.parquet")
    read = Logits.read(tmp_path / "calib.parquet")
    assert list(read.sample_ids) == list(written.sample_ids)
    assert set(read.labels) == {"coarse", "fine"}
    assert np.array_equal(read.target, written.target)
    assert np.array_equal(read.weight, written.weight)
    assert read.values.dtype == np.float32
    assert np.array_equal(read.values, written.values)
    assert read.metadata == METADATA
    assert read.temperature == 1


def test_the_file_keeps_its_contract(tmp_path):
    logits().write(tmp_path / "a.parquet")
    logits().write(tmp_path / "b.parquet")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.field("logits").type == pa.list_(pa.float32(), 3)
    assert schema.field("weight").type == pa.float64()
    assert schema.field("fine").type == pa.int64()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_cooling_divides_and_says_so(tmp_path):
    written = logits()
    calibrate_logits(written, {"fine": Calibrator(2.5)}).write(tmp_path / "calib.parquet")
    read = Logits.read(tmp_path / "calib.parquet")
    assert read.temperature == 2.5
    np.testing.assert_allclose(read.values * 2.5, written.values, rtol=1e-6)


def test_each_head_has_a_column_and_missing_labels_are_nulls(tmp_path):
    labels = {"coarse": np.array([0, -1, 1, -1, 0]), "fine": np.arange(5) % 3}
    coarse = np.arange(10, dtype=np.float32).reshape(5, 2)
    written = logits(labels=labels, heads={"coarse": coarse, **logits().heads})
    calibrators = {"coarse": Calibrator(4.0), "fine": Calibrator(2.0)}
    calibrate_logits(written, calibrators).write(tmp_path / "calib.parquet")
    schema = pq.read_schema(tmp_path / "calib.parquet")
    assert schema.field("logits_coarse").type == pa.list_(pa.float32(), 2)
    assert schema.field("logits_fine").type == pa.list_(pa.float32(), 3)
    assert "logits" not in schema.names
    assert pq.read_table(tmp_path / "calib.parquet")["coarse"].null_count == 2
    read = Logits.read(tmp_path / "calib.parquet")
    assert np.array_equal(read.labels["coarse"], labels["coarse"])
    assert np.array_equal(read.heads["coarse"] * 4, coarse)
    np.testing.assert_allclose(read.values * 2, written.values, rtol=1e-6)
    assert read.temperature == 2
    assert read.metadata["temperatures"] == {"coarse": 4.0, "fine": 2.0}
    with pytest.raises(TailproofError, match=r"'coarse'.* no calibrator"):
        check_calibrators({"coarse": 2, "fine": 3}, {"fine": Calibrator(2.0)})


def test_a_file_without_rows_can_be_read(tmp_path):
    logits(samples=0).write(tmp_path / "calib.parquet")
    assert Logits.read(tmp_path / "calib.parquet").values.shape == (0, 3)


def broken_values():
    values = logits().values.copy()
    values[2, 1] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": {"fine": broken_values()}}, r"row 2 \(s2\): a logit is not finite"),
        ({"labels": {"fine": np.array([0, 1, 2, 3, 0])}}, r"row 3 \(s3\): .*outside 0 to 2"),
        ({"labels": {"fine": np.array([0, -1, 2, 0, 0])}}, r"row 1 \(s1\): .*outside 0 to 2"),
        ({"weight": np.array([1, 1, 1, 1, -0.1])}, r"row 4 \(s4\): the weight"),
        ({"weight": np.array([1, np.inf, 1, 1, 1])}, r"row 1 \(s1\): the weight"),
        ({"sample_ids": np.array(["a", "b", "c", "b", "d"], object)}, r"row 3 \(b\): .*twice"),
        (
            {
                "labels": {"coarse": np.array([0, 1, 2, 0, 0]), "fine": np.zeros(5, int)},
                "heads": {**logits().heads, "coarse": np.zeros((5, 2), np.float32)},
            },
            r"row 2 \(s2\): .*outside 0 to 1",
        ),
        ({"labels": {"coarse": np.zeros(5, int)}}, "has no column 'fine'"),
        ({"metadata": {"target": "fine"}}, "lack expert, seed, split, weights_sha256"),
    ],
)
def test_what_cannot_be_is_refused_with_its_row(tmp_path, changes, message):
    path = tmp_path / "calib.parquet"
    logits(**changes).write(path)
    with pytest.raises(TailproofError, match=re.escape(str(path)) + ".*" + message):
        Logits.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TailproofError, match=r"nowhere\.parquet does not exist"):
        Logits.read(tmp_path / "nowhere.parquet")


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "calib.parquet"
    logits().write(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TailproofError, match=re.escape(str(path))):
        Logits.read(path)


def test_lists_of_varying_length_are_refused(tmp_path):
    path = tmp_path / "calib.parquet"
    logits().write(path)
    table = read_parquet(path)
    ragged = pa.array([[1.0, 2.0, 3.0]] * 5, pa.list_(pa.float32()))
    table = table.set_column(table.column_names.index("logits"), "logits", ragged)
    write_parquet(path, with_metadata(table, METADATA))
    with pytest.raises(TailproofError, match="expected fixed_size_list"):
        Logits.read(path)
