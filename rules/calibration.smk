# raw logits -> temperature -> calibrated logits


rule calibrate:
    input:
        raw=f"{SEED_FOLDER}/raw_logits/calib.parquet",
    output:
        calibration=f"{SEED_FOLDER}/calibration.json",
    log:
        "logs/{experiment}/calibrate/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/calibrate/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        calibration=lambda w: plain(experiment(w).calibration),
        code=code("calibrate.py"),
    message:
        "{wildcards.experiment}: calibrate {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/calibrate.py"


rule export:
    input:
        raw=rules.infer.output,
        calibration=rules.calibrate.output.calibration,
    output:
        expand(
            f"{SEED_FOLDER}/logits/{{split}}.parquet", split=SPLITS, allow_missing=True
        ),
    log:
        "logs/{experiment}/export/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/export/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("export.py"),
    message:
        "{wildcards.experiment}: export the logits of {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/export.py"
