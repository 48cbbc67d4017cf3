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
        weights=pipeline.files_of_first_seed("model.safetensors"),
        configs=pipeline.files_of_first_seed("config.json"),
        calibrations=pipeline.files_of_first_seed("calibration.json"),
        deployments=pipeline.files_of_first_seed("deployment.json"),
        ensemble=pipeline.bundle_of_first_seed,
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
        code=code("cost"),
    message:
        "{wildcards.experiment}: measure what answers cost"
    script:
        "../workflow/scripts/cost.py"
