import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.config.splits import SPLITS
from tailproof.data.images import encode_png
from tailproof.files import write_json
from tailproof.loading import Split, dataset
from tailproof.runtime.errors import TailproofError

GROUPS = [3, 5, 1, 4, 7]


@pytest.fixture
def manifest(tmp_path):
    """A split in two shards of small row groups; row r is a picture of one pixel of grey r."""
    shards, row = [], 0
    for name, groups in (("a.parquet", GROUPS[:2]), ("b.parquet", GROUPS[2:])):
        with pq.ParquetWriter(tmp_path / name, schema()) as writer:
            for rows in groups:
                writer.write_table(table(range(row, row + rows)))
                row += rows
        shards.append({"path": name, "rows": sum(groups), "bytes": 100 * sum(groups)})
    splits = {name: {"shards": shards if name == "train" else []} for name in SPLITS}
    write_json(
        tmp_path / "manifest.json", {"mode": "L", "bands": 1, "ranks": ["class"], "splits": splits}
    )
    return tmp_path / "manifest.json"


def schema() -> pa.Schema:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"sample_id": pa.string(), "image": image, "class": pa.int64()}
    return pa.schema([*columns.items(), ("weight", pa.float64())])


def table(rows: range) -> pa.Table:
    return pa.Table.from_pydict(
        {
            "sample_id": [f"s{row}" for row in rows],
            "image": [{"bytes": encode_png(np.full((1, 1), row, np.uint8))} for row in rows],
            "class": [None if row % 3 == 0 else row for row in rows],
            "weight": [row / 2 for row in rows],
        },
        schema=schema(),
    )


def test_columns_are_those_of_the_shards(manifest):
    found = Split(manifest, "train")
    rows = np.arange(sum(GROUPS))
    assert found.groups == GROUPS and found.sample_ids == [f"s{row}" for row in rows]
    np.testing.assert_array_equal(found.labels["class"], np.where(rows % 3, rows, -1))
    np.testing.assert_array_equal(found.weight, rows / 2)
    found.labels["class"][0] = 9  # its own memory


@pytest.mark.parametrize(("bytes_", "block"), [(100, 1), (650, 6), (10**6, 16384)])
def test_what_is_held_is_bound_by_the_bytes_of_images(manifest, monkeypatch, bytes_, block):
    monkeypatch.setattr(dataset, "BLOCK_BYTES", bytes_)
    found = Split(manifest, "train")
    assert found.block_rows == min(block, bytes_ // 100)
    kept = found.block_rows + max(GROUPS)
    for row in np.random.default_rng(0).integers(0, sum(GROUPS), 300):
        assert found.image(int(row)).tolist() == [[[row]]]
        held = [len(images) for images in found._cache.values()]
        assert sum(held) - held[0] < kept  # without the oldest it would be too little


def test_a_row_group_damaged_since_it_was_opened_is_told(manifest):
    found = Split(manifest, "train")
    path = Path(found.paths[1])
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(bytes(len(content) - footer) + content[-footer:])
    with pytest.raises(TailproofError, match=r"row group 0 cannot be read"):
        for row in range(sum(GROUPS[:2]), sum(GROUPS)):
            found.encoded(row)


def test_opening_does_not_import_pandas(manifest):
    code = (
        "import sys; from tailproof.loading import Split; "
        f"Split({str(manifest)!r}, 'train').image(0); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
