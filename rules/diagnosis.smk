# history -> what it says


rule diagnose:
    input:
        history=f"{SEED_FOLDER}/history.csv",
        training=f"{SEED_FOLDER}/training.json",
        manifest=rules.manifest.output.manifest,
        selection=lambda w: selection_of(w) if w.expert == WINNER else [],
    output:
        diagnosis=report(
            f"{SEED_FOLDER}/diagnosis.json",
            caption="../workflow/report/diagnosis.rst",
            category="{experiment}",
            subcategory="diagnosis",
            labels={"what": "{expert}, seed {seed}"},
        ),
        record=record("diagnose", "{expert}-{seed}"),
    log:
        "logs/{experiment}/diagnose/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/diagnose/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        recipes=recipes_by_name,
        targets=lambda w: plain(experiment(w))["targets"],
        code=code("diagnose"),
    message:
        "{wildcards.experiment}: diagnose {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/diagnose.py"
