"""A shard of every split and pretrained weights -> features of a frozen backbone."""

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.frozen_backbone import Features
    from tailproof.config.model import Model
    from tailproof.features.embed import embed
    from tailproof.project import project_paths
    from tailproof.runtime.stages import paths_by

    params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    facts = embed(
        Model(**params.model),
        Features(**params.features),
        params.normalize,
        paths_by("shard", ("split",), inputs.shards),
        paths_by("shard", ("split",), inputs.shard_facts),
        inputs.pixel_sums,
        paths_by("embed", ("split",), snakemake.output.features),
        project_paths().embedding_states / f"{wildcards.key}-{wildcards.part}",
        part=int(wildcards.part),
        threads=snakemake.threads,
        code=params.code,
        digests=stage.digests,
    )
    stage.results.update(facts)
