# everything on disk -> one page, and the curves as a table


rule report:
    input:
        metrics=rules.evaluate.output.metrics,
        tables=rules.evaluate.output.tables,
        splits=rules.split.output.summary,
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "dev"),
        histories=of_all_experts("history.csv"),
        trainings=of_all_experts("training.json"),
        calibrations=of_all_experts("calibration.json"),
        diagnoses=of_all_experts("diagnosis.json"),
        selection=selection_of,
        records=records_so_far,
    output:
        page="results/{experiment}/report/index.html",
        curves="results/{experiment}/report/curves.csv",
        record=record("report"),
    log:
        "logs/{experiment}/report.log",
    benchmark:
        "logs/{experiment}/report.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        experiment=lambda w: experiment(w).learning(),
        code=code("report"),
    message:
        "{wildcards.experiment}: write the report"
    script:
        "../workflow/scripts/report.py"
