# all results -> the report page, a page of estimated against actual cost, and the learning curves


rule report:
    input:
        metrics=rules.evaluate.output.metrics,
        guarantees=rules.guarantee.output.guarantees,
        tables=rules.evaluate.output.tables,
        prepared=rules.prepare.output.summary,
        splits=rules.split.output.summary,
        leakage=leakage_of,
        manifest=rules.manifest.output.manifest,
        # For the images of the worst errors; those of each class are in thumbnails.
        shards=shards_of("dev"),
        thumbnails=rules.thumbnails.output.thumbnails,
        inspection=[rules.inspect.output.summary, rules.inspect.output.pictures],
        preflight=rules.preflight.output.preflight,
        timing=rules.preflight.output.timing,
        histories=files_of_evaluated("history.csv"),
        trainings=files_of(lambda w: experiment(w).trained, "training.json"),
        calibrations=files_of_evaluated("calibration.json"),
        diagnoses=files_of_evaluated("diagnosis.json"),
        selection=selection_of,
        cost=lambda w: (
            f"{RESULTS}/{w.experiment}/experts/cost.json"
            if experiment(w).students
            else []
        ),
        pooled=pipeline.pooled,
        records=records_so_far,
    output:
        page=report(
            "<results>/{experiment}/report/index.html",
            caption="../workflow/report/page.rst",
            category="{experiment}",
            labels={"what": "report"},
        ),
        preflight=report(
            "<results>/{experiment}/report/preflight.html",
            caption="../workflow/report/preflight_estimates.rst",
            category="{experiment}",
            labels={"what": "estimated and actual"},
        ),
        curves=report(
            "<results>/{experiment}/report/curves.csv",
            caption="../workflow/report/curves.rst",
            category="{experiment}",
            labels={"what": "learning curves"},
        ),
        record=record("report"),
    log:
        "<logs>/{experiment}/report.log",
    benchmark:
        "<logs>/{experiment}/report.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        experiment=lambda w: experiment(w).result_fields(),
        code=code("report"),
    message:
        "{wildcards.experiment}: write the report"
    script:
        "../workflow/scripts/report.py"
