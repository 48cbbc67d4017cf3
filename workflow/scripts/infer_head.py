"""One expert that is a head, and features -> raw logits of all six splits."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.features import keys_for
    from tailproof.config.recipe import Recipe
    from tailproof.files import read_json
    from tailproof.predict.infer_head import infer_head
    from tailproof.project import project_paths

    recipe = Recipe(**read_json(snakemake.input.config)["tailproof"]["recipe"])
    infer_head(
        Path(snakemake.input.weights).parent,
        snakemake.wildcards.expert,
        int(snakemake.wildcards.seed),
        snakemake.input.manifest,
        [project_paths().features(key) for key in keys_for(recipe, snakemake.params.features)],
        Path(snakemake.output.logits[0]).parent,
        threads=snakemake.threads,
        digests=stage.digests,
    )
