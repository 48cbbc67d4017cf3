"""The stage context: context.parquet, columns of the source's table next to each sample.

It lists the source again and decodes no image, so a column can be added to an experiment that is
trained: `guarantee` alone reads the file.
"""

from pathlib import Path

import pyarrow as pa

from tailproof.config.data import Data
from tailproof.data.context_cells import kind_of, read_cell
from tailproof.data.sources import open_source
from tailproof.data.tables import read_parquet, with_metadata, write_parquet
from tailproof.runtime.errors import TailproofError


def write_context(config: Data, samples: str | Path, output: str | Path) -> None:
    """Write context.parquet: sample_id and the configured columns, for the samples that there are.

    Args:
        config: the data section.
        samples: samples.parquet.
        output: path of context.parquet; its metadata name the kind of each column.

    Raises:
        TailproofError: the source is missing or damaged or has no such column, or a column is no
            category.
    """
    source = open_source(config.source, config.context)
    listed = {sample.sample_id: sample.context for sample in source.samples()}
    ids = read_parquet(samples, ["sample_id"])["sample_id"].to_pylist()
    if missing := next((sample for sample in ids if sample not in listed), None):
        raise TailproofError(
            f"{source.root} no longer lists the sample '{missing}': run snakemake again with "
            "--forcerun prepare"
        )
    rows = [listed[sample] for sample in ids]
    columns, kinds = {}, {}
    for place, name in enumerate(config.context):
        cells = [row[place] for row in rows]
        kinds[name] = kind_of(name, cells)
        columns[name] = pa.array([read_cell(cell, kinds[name]) for cell in cells], pa.string())
    table = pa.table({"sample_id": pa.array(ids, pa.string()), **columns})
    write_parquet(output, with_metadata(table, {"kinds": kinds}))
