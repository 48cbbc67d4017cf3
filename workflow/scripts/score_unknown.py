"""One expert and the shards -> how well it knows the images of tune, test and unknown classes."""

import json
from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.predict.score_unknown import score_unknown

    execution = json.loads(snakemake.resources.execution)
    score_unknown(
        Path(snakemake.input.weights).parent,
        snakemake.wildcards.expert,
        int(snakemake.wildcards.seed),
        snakemake.input.manifest,
        next(iter(snakemake.input.unknown), None),
        threads=snakemake.threads,
        memory_budget=execution["cache_gb"] * 2**30,
        workers=execution["workers"],
        digests=stage.digests,
    )
