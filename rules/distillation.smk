# calibrated logits of the experts of one seed -> what a student learns from their ensemble

TAUGHT = ["train", "tune"]


rule teach:
    input:
        logits=pipeline.files_to_combine("logits/{split}.parquet", split=TAUGHT),
    output:
        teacher="<results>/{experiment}/experts/stacked/seed-{seed}/teacher.parquet",
        record=record("teach"),
    log:
        "<logs>/{experiment}/teach/{seed}.log",
    benchmark:
        "<logs>/{experiment}/teach/{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
    params:
        experts=lambda w: experiment(w).combined,
        splits=TAUGHT,
        code=code("teach"),
    message:
        "{wildcards.experiment}: teach with the ensemble of seed {wildcards.seed}"
    script:
        "../workflow/scripts/teach.py"
