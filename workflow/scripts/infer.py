"""One expert and the shards -> raw logits of all six splits."""

import json
from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.predict.infer import infer

    execution = json.loads(snakemake.resources.execution)
    infer(
        Path(snakemake.input.weights).parent,
        snakemake.wildcards.expert,
        int(snakemake.wildcards.seed),
        snakemake.input.manifest,
        Path(snakemake.output.logits[0]).parent,
        threads=snakemake.threads,
        memory_budget=execution["cache_gb"] * 2**30,
        workers=execution["workers"],
        digests=stage.digests,
    )
