# the experts of one seed -> the folder of an ensemble that predicts like one expert

BUNDLED_LOGITS = ["val", "calib", "tune"]


rule bundle:
    input:
        weights=pipeline.files_to_combine("model.safetensors"),
        configs=pipeline.files_to_combine("config.json"),
        calibrations=pipeline.files_to_combine("calibration.json"),
        logits=pipeline.files_to_combine("logits/{split}.parquet", split=BUNDLED_LOGITS),
        manifest=rules.manifest.output.manifest,
        samples=rules.prepare.output.samples,
        metrics=rules.evaluate.output.metrics,
        splits=rules.split.output.splits,
        context=context_of,
        rules=pipeline.rules_of_unknown,
        known=pipeline.known_features,
    output:
        weights="<results>/{experiment}/bundles/{method}/seed-{seed}/model.safetensors",
        bundle="<results>/{experiment}/bundles/{method}/seed-{seed}/bundle.json",
        deployment="<results>/{experiment}/bundles/{method}/seed-{seed}/deployment.json",
        guarantees="<results>/{experiment}/bundles/{method}/seed-{seed}/guarantees.json",
        readme="<results>/{experiment}/bundles/{method}/seed-{seed}/README.md",
        record=record("bundle"),
    log:
        "<logs>/{experiment}/bundle/{method}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/bundle/{method}-{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
    params:
        title=lambda w: experiment(w).title,
        experts=lambda w: experiment(w).combined,
        splits=BUNDLED_LOGITS,
        evaluation=lambda w: config_section(experiment(w).evaluation),
        guarantees=lambda w: config_section(experiment(w).guarantees),
        code=code("bundle"),
    message:
        "{wildcards.experiment}: bundle the ensemble {wildcards.method}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/bundle.py"
