"""What is computed again from records: which of their inputs, and what is left out."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.recomputation.stages import REMADE, outputs_of
from tailproof.runtime.records import File, Record
from tailproof.runtime.stages import POOLED


def record_of(experiment, paths, parameters=None) -> Record:
    inputs = [File(path=str(path), sha256="0" * 64, bytes=1) for path in paths]
    return Record.model_construct(
        experiment=experiment, rule="", inputs=inputs, parameters=parameters or {}
    )


@pytest.mark.parametrize("experiment", ["tiny", "logits", "draws", "cross_fit"])
def test_an_experiment_may_have_the_name_of_a_folder_of_results(experiment):
    folder = f"results/{experiment}"
    logits = f"{folder}/experts/a/seed-0/logits/val.parquet"
    pooled = f"{folder}/draws/metrics.json"
    others = [
        f"{folder}/{name}"
        for name in ("prepare.json", "shards/manifest.json", "experts/a/seed-0/config.json")
    ]
    record = record_of(experiment, [*others, logits, pooled])
    assert outputs_of(record, "export") == [logits]
    assert outputs_of(record, *POOLED) == [pooled]


def test_context_is_left_out_if_the_folder_of_the_raw_data_is_empty(tmp_path):
    raw = tmp_path / "raw.parquet"
    pq.write_table(pa.table({"path": ["labels.csv"]}), raw)
    (tmp_path / "data").mkdir()
    source = {"name": "metadata_csv", "root": str(tmp_path / "data"), "table": "labels.csv",
              "filename": "file", "ranks": ["label"]}  # fmt: skip
    record = record_of("tiny", [raw], {"data": {"source": source, "context": ["site"]}})
    REMADE["context"](record, tmp_path)
    assert not (tmp_path / "context.parquet").exists()
