"""Selection and trained points -> the winner, a copy of the best point's expert."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.sweep.selection import adopt

    output = Path(snakemake.output.weights).parent
    adopt(
        snakemake.input.selection,
        output.parents[1],
        int(snakemake.wildcards.seed),
        output,
    )
