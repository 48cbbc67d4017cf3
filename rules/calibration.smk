# raw logits -> calibrator -> calibrated logits


rule calibrate:
    input:
        raw=pipeline.logits_to_calibrate,
    output:
        calibration="<expert>/calibration.json",
        record=record("calibrate"),
    log:
        "<logs>/{experiment}/calibrate/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/calibrate/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        calibration=lambda w: config_section(experiment(w).calibration),
        code=code("calibrate"),
    message:
        "{wildcards.experiment}: calibrate {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/calibrate.py"


rule export:
    input:
        raw=expand(
            "<expert>/raw_logits/{split}.parquet", split=CALIBRATED, allow_missing=True
        ),
        calibration=rules.calibrate.output.calibration,
    output:
        logits=expand(
            "<expert>/logits/{split}.parquet", split=CALIBRATED, allow_missing=True
        ),
        record=record("export"),
    log:
        "<logs>/{experiment}/export/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/export/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("export"),
    message:
        "{wildcards.experiment}: export the logits of {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/export.py"
