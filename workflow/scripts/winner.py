"""The selection and the trained points -> the winner's expert, a copy."""

from pathlib import Path

from tailproof.runtime.stage import job

with job(snakemake):
    from tailproof.sweep.selection import adopt

    output = Path(snakemake.output.weights).parent
    adopt(
        snakemake.input.selection,
        output.parents[1],
        int(snakemake.wildcards.seed),
        output,
    )
