# one expert and what was measured of it -> a folder that stands for itself


rule card:
    input:
        config=f"{SEED_FOLDER}/config.json",
        calibration=rules.calibrate.output.calibration,
        training=f"{SEED_FOLDER}/training.json",
        diagnosis=rules.diagnose.output.diagnosis,
        manifest=rules.manifest.output.manifest,
        splits=rules.split.output.summary,
        metrics=rules.evaluate.output.metrics,
        rejectors="results/{experiment}/evaluation/rejectors.csv",
    output:
        readme=f"{SEED_FOLDER}/README.md",
        example=f"{SEED_FOLDER}/example.py",
        deployment=f"{SEED_FOLDER}/deployment.json",
        record=record("card", "{expert}-{seed}"),
    log:
        "logs/{experiment}/card/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/card/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        title=lambda w: experiment(w).title,
        source=lambda w: experiment(w).data.source.name,
        evaluation=lambda w: plain(experiment(w).evaluation),
        code=code("card"),
    message:
        "{wildcards.experiment}: write the card of {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/card.py"
