# Tailproof: from labelled images to calibrated experts with proof.
from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/preflight.smk"
include: "rules/thumbnails.smk"
include: "rules/weights.smk"
include: "rules/features.smk"
include: "rules/training.smk"
include: "rules/sweep.smk"
include: "rules/inference.smk"
include: "rules/unknown.smk"
include: "rules/calibration.smk"
include: "rules/evaluation.smk"
include: "rules/distillation.smk"
include: "rules/inspection.smk"
include: "rules/cross_fit.smk"
include: "rules/draws.smk"
include: "rules/diagnosis.smk"
include: "rules/card.smk"
include: "rules/bundle.smk"
include: "rules/report.smk"
include: "rules/provenance.smk"


rule all:
    default_target: True
    input:
        results=expand(
            "<results>/{experiment}/audit.json", experiment=LISTED.experiments
        ),
        # Targets, so that a job without its record runs again.
        records=[
            path
            for name in LISTED.experiments
            for path in helpers.expected_records(name, pipeline.read(name))
        ],
        weights=[
            record_path(WEIGHTS, "fetch", key)
            for name in LISTED.experiments
            for key in helpers.pretrained_models(
                expert_recipes.all_recipes(pipeline.read(name)).values()
            )
        ],
        features=pipeline.records_of_features(LISTED.experiments),
        last=expand([record("report"), record("audit")], experiment=LISTED.experiments),
