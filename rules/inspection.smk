# shards + calibrated logits of all experts -> labels to check, odd images and a gallery

INSPECTED = ["val", "calib", "tune", "dev"]


rule inspect:
    input:
        manifest=rules.manifest.output.manifest,
        samples=rules.prepare.output.samples,
        shards=shards_of("train", *INSPECTED),
        # Students answer what their teachers answer, which would then count twice.
        logits=files_of(
            lambda w: experiment(w).combined,
            "logits/{split}.parquet",
            split=INSPECTED,
        ),
    output:
        summary="<results>/{experiment}/inspection/summary.json",
        labels="<results>/{experiment}/inspection/labels_to_check.csv",
        odd="<results>/{experiment}/inspection/odd_images.csv",
        pictures="<results>/{experiment}/inspection/pictures.json",
        record=record("inspect"),
    log:
        "<logs>/{experiment}/inspect.log",
    benchmark:
        "<logs>/{experiment}/inspect.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(120),
    params:
        splits=INSPECTED,
        evaluation=lambda w: config_section(
            experiment(w).evaluation, "many_shot", "few_shot"
        ),
        code=code("inspect"),
    message:
        "{wildcards.experiment}: inspect labels and images"
    script:
        "../workflow/scripts/inspect.py"
