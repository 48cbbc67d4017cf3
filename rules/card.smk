# one expert and its measurements -> a self-contained folder with a model card


rule card:
    input:
        weights="<expert>/model.safetensors",
        config="<expert>/config.json",
        calibration=rules.calibrate.output.calibration,
        training="<expert>/training.json",
        diagnosis=rules.diagnose.output.diagnosis,
        manifest=rules.manifest.output.manifest,
        splits=rules.split.output.summary,
        metrics=rules.evaluate.output.metrics,
        rejectors="<results>/{experiment}/evaluation/rejectors.csv",
        promises=rules.guarantee.output.rules,
    output:
        readme="<expert>/README.md",
        example="<expert>/example.py",
        deployment="<expert>/deployment.json",
        guarantees="<expert>/guarantees.json",
        record=record("card"),
    log:
        "<logs>/{experiment}/card/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/card/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        title=lambda w: experiment(w).title,
        source=lambda w: experiment(w).data.source.name,
        evaluation=lambda w: config_section(experiment(w).evaluation),
        code=code("card"),
    message:
        "{wildcards.experiment}: write the card of {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/card.py"
