# calibrated logits of all folds -> one held-out prediction of every sample, and metrics

from tailproof.evaluation.table_columns import CROSS_FIT_COLUMNS


rule cross_fit:
    input:
        logits=lambda w: checked(pipeline.logits_of_folds(*EVALUATED), w),
        manifests=lambda w: checked(pipeline.files_of_folds("shards/manifest.json"), w),
        samples=lambda w: checked(pipeline.files_of_folds("samples.parquet"), w),
        splits=lambda w: checked(pipeline.files_of_folds("splits.parquet"), w),
    output:
        metrics="<results>/{experiment}/cross_fit/metrics.json",
        tables=expand(
            "<results>/{{experiment}}/cross_fit/{table}.csv", table=CROSS_FIT_COLUMNS
        ),
        record=record("cross_fit"),
    log:
        "<logs>/{experiment}/cross_fit.log",
    benchmark:
        "<logs>/{experiment}/cross_fit.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        folds=lambda w: checked(pipeline.folds, w),
        experts=lambda w: experiment(w).evaluated,
        students=lambda w: experiment(w).students,
        seeds=lambda w: experiment(w).seeds,
        splits=EVALUATED,
        evaluation=lambda w: config_section(experiment(w).evaluation),
        code=code("cross_fit"),
    message:
        "{wildcards.experiment}: pool the held-out predictions of all folds"
    script:
        "../workflow/scripts/cross_fit.py"
