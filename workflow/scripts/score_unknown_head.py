"""One expert that is a head, and features -> how well it knows images of tune, test and more."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.features import keys_for
    from tailproof.config.recipe import Recipe
    from tailproof.files import read_json
    from tailproof.predict.score_unknown_head import score_unknown_head
    from tailproof.project import project_paths

    recipe = Recipe(**read_json(snakemake.input.config)["tailproof"]["recipe"])
    keys, paths = keys_for(recipe, snakemake.params.features), project_paths()
    shards = paths.experiment(snakemake.wildcards.experiment) / "shards"
    score_unknown_head(
        Path(snakemake.input.weights).parent,
        snakemake.wildcards.expert,
        int(snakemake.wildcards.seed),
        snakemake.input.manifest,
        [paths.features(key) for key in keys],
        next(iter(snakemake.input.unknown), None),
        [shards / "unknown_features" / key for key in keys],
        threads=snakemake.threads,
        digests=stage.digests,
    )
