# everything on disk -> one page, one on what the preflight foretold, and the curves as a table


rule report:
    input:
        metrics=rules.evaluate.output.metrics,
        tables=rules.evaluate.output.tables,
        splits=rules.split.output.summary,
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "dev"),
        preflight=rules.preflight.output.preflight,
        probe=rules.preflight.output.probe,
        histories=of_all_experts("history.csv"),
        trainings=of_all_trained("training.json"),
        calibrations=of_all_experts("calibration.json"),
        diagnoses=of_all_experts("diagnosis.json"),
        selection=selection_of,
        records=records_so_far,
    output:
        page=report(
            "results/{experiment}/report/index.html",
            caption="../workflow/report/page.rst",
            category="{experiment}",
            labels={"what": "report"},
        ),
        preflight=report(
            "results/{experiment}/report/preflight.html",
            caption="../workflow/report/foretold.rst",
            category="{experiment}",
            labels={"what": "estimates and what came"},
        ),
        curves=report(
            "results/{experiment}/report/curves.csv",
            caption="../workflow/report/curves.rst",
            category="{experiment}",
            labels={"what": "learning curves"},
        ),
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
        experiment=lambda w: experiment(w).result_fields(),
        code=code("report"),
    message:
        "{wildcards.experiment}: write the report"
    script:
        "../workflow/scripts/report.py"
