# calibrated logits of all experts -> metrics and tables, and promises that are kept

from tailproof.evaluation.table_columns import TABLES

EVALUATED = ["tune", "dev", "test"]
GUARANTEED = ["val", "calib", *EVALUATED]


rule evaluate:
    input:
        logits=files_of_evaluated("logits/{split}.parquet", split=EVALUATED),
        manifest=rules.manifest.output.manifest,
        samples=rules.prepare.output.samples,
    output:
        metrics="<results>/{experiment}/evaluation/metrics.json",
        accuracy="<results>/{experiment}/evaluation/accuracy.json",
        summary=report(
            "<results>/{experiment}/evaluation/summary.csv",
            caption="../workflow/report/summary.rst",
            category="{experiment}",
            labels={"what": "results of all methods"},
        ),
        tables=expand("<results>/{{experiment}}/evaluation/{table}.csv", table=TABLES),
        record=record("evaluate"),
    log:
        "<logs>/{experiment}/evaluate.log",
    benchmark:
        "<logs>/{experiment}/evaluate.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        experts=lambda w: experiment(w).evaluated,
        students=lambda w: experiment(w).students,
        seeds=lambda w: experiment(w).seeds,
        splits=EVALUATED,
        evaluation=lambda w: config_section(experiment(w).evaluation),
        code=code("evaluate"),
    message:
        "{wildcards.experiment}: evaluate experts and ensembles"
    script:
        "../workflow/scripts/evaluate.py"


rule guarantee:
    input:
        logits=files_of_evaluated("logits/{split}.parquet", split=GUARANTEED),
        manifest=rules.manifest.output.manifest,
        samples=rules.prepare.output.samples,
        unknown=pipeline.unknown_scores,
        splits=rules.split.output.splits,
        context=context_of,
    output:
        guarantees="<results>/{experiment}/evaluation/guarantees.json",
        rules="<results>/{experiment}/evaluation/guarantee_rules.json",
        record=record("guarantee"),
    log:
        "<logs>/{experiment}/guarantee.log",
    benchmark:
        "<logs>/{experiment}/guarantee.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        experts=lambda w: experiment(w).evaluated,
        students=lambda w: experiment(w).students,
        seeds=lambda w: experiment(w).seeds,
        splits=GUARANTEED,
        evaluation=lambda w: config_section(
            experiment(w).evaluation, "many_shot", "few_shot", "bootstrap", "seed"
        ),
        guarantees=lambda w: experiment(w).guarantee_fields(),
        code=code("guarantee"),
    message:
        "{wildcards.experiment}: guarantee coverage, risk and precision"
    script:
        "../workflow/scripts/guarantee.py"
