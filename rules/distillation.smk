# logits of the experts of one seed -> what a student learns from their ensemble


rule teach:
    input:
        raw=pipeline.files_to_combine("raw_logits/train.parquet"),
        calibrations=pipeline.files_to_combine("calibration.json"),
        tune=pipeline.files_to_combine("logits/tune.parquet"),
    output:
        teacher="<results>/{experiment}/experts/teacher-{seed}.parquet",
        record=record("teach"),
    log:
        "<logs>/{experiment}/teach/{seed}.log",
    benchmark:
        "<logs>/{experiment}/teach/{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        experts=lambda w: experiment(w).combined,
        code=code("teach"),
    message:
        "{wildcards.experiment}: teach with the ensemble of seed {wildcards.seed}"
    script:
        "../workflow/scripts/teach.py"


# What the students are compared by, so an experiment without students needs none of it.
rule cost:
    input:
        weights=files_of_evaluated("model.safetensors"),
        configs=files_of_evaluated("config.json"),
        calibrations=files_of_evaluated("calibration.json"),
        deployments=files_of_evaluated("deployment.json"),
        ensemble=lambda w: [
            f"{RESULTS}/{w.experiment}/bundles/stacked/seed-{experiment(w).seeds[0]}/{file}"
            for file in BUNDLED
        ],
    output:
        cost="<results>/{experiment}/experts/cost.json",
        record=record("cost"),
    log:
        "<logs>/{experiment}/cost.log",
    benchmark:
        "<logs>/{experiment}/cost.tsv"
    conda:
        "../envs/torch.yaml"
    threads: max_over_recipes(lambda recipe: recipe.threads)
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
    params:
        experts=lambda w: experiment(w).evaluated,
        seed=lambda w: experiment(w).seeds[0],
        code=code("cost"),
    message:
        "{wildcards.experiment}: measure what answers cost"
    script:
        "../workflow/scripts/cost.py"
