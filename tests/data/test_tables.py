"""Columns of Arrow tables as arrays, without pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.data.tables import numbers, write_parquet

VALUES = {
    pa.int32(): st.integers(-1000, 1000),
    pa.int64(): st.integers(-1000, 1000),
    pa.float32(): st.floats(-1e6, 1e6, width=32),
    pa.float64(): st.floats(-1e9, 1e9),
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
@given(data=st.data())
def test_numbers_are_those_of_the_column_and_missing_ones_are_marked(kind, data):
    parts = st.lists(st.none() | VALUES[kind], max_size=20)
    chunks = [pa.array(values, kind) for values in data.draw(st.lists(parts, max_size=3))]
    column = pa.chunked_array(chunks, kind)
    column = column.slice(data.draw(st.integers(0, len(column))))
    missing = np.nan if pa.types.is_floating(kind) else -1
    expected = [missing if value is None else value for value in column.to_pylist()]
    found = numbers(column)
    assert found.dtype == kind.to_pandas_dtype()
    np.testing.assert_array_equal(found, np.array(expected, found.dtype))
    found[:] = 0  # a copy: Arrow's own memory is read-only


def test_pandas_is_not_imported_for_them(tmp_path):
    path = tmp_path / "table.parquet"
    write_parquet(path, pa.table({"x": [1.5, None]}))
    program = (
        "import sys; from tailproof.data.tables import numbers, read_parquet\n"
        f"numbers(read_parquet({str(path)!r})['x']); sys.exit('pandas' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
