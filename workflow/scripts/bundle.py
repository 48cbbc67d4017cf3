"""The experts of one seed -> the folder of an ensemble that predicts like one expert."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.bundle.bundle import bundle
    from tailproof.bundle.inputs import Sources
    from tailproof.config.evaluation import Evaluation
    from tailproof.config.guarantees import Guarantees
    from tailproof.runtime.stages import paths_by

    inputs, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
    bundle(
        Sources(
            experiment=wildcards.experiment,
            title=params.title,
            method=wildcards.method,
            seed=int(wildcards.seed),
            experts=params.experts,
            weights=paths_by("train", ("expert",), inputs.weights),
            configs=paths_by("train", ("expert",), inputs.configs),
            calibrations=paths_by("calibrate", ("expert",), inputs.calibrations),
            logits=paths_by("export", ("expert", "split"), inputs.logits),
            manifest=inputs.manifest,
            samples=inputs.samples,
            metrics=inputs.metrics,
            splits=inputs.splits,
            context=inputs.context or None,
            rules=next(iter(inputs.rules), None),
            known=paths_by("score_unknown", ("expert",), inputs.known),
            hashed=stage.digests,
        ),
        Evaluation(**params.evaluation),
        Guarantees(**params.guarantees),
        Path(snakemake.output.bundle).parent,
    )
