# metrics of all draws of the splits -> their mean and spread

from tailproof.evaluation.table_columns import DRAWS_COLUMNS


rule draws:
    input:
        metrics=lambda w: checked(pipeline.metrics_of_draws, w),
    output:
        metrics="<results>/{experiment}/draws/metrics.json",
        tables=expand("<results>/{{experiment}}/draws/{table}.csv", table=DRAWS_COLUMNS),
        record=record("draws"),
    log:
        "<logs>/{experiment}/draws.log",
    benchmark:
        "<logs>/{experiment}/draws.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        draws=lambda w: checked(pipeline.draws, w),
        code=code("draws"),
    message:
        "{wildcards.experiment}: compare the draws of the splits"
    script:
        "../workflow/scripts/draws.py"
