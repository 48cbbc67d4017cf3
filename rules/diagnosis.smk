# history of a training run -> findings about it


rule diagnose:
    input:
        history="<expert>/history.csv",
        training="<expert>/training.json",
        manifest=rules.manifest.output.manifest,
        selection=lambda w: selection_of(w) if w.expert == WINNER else [],
    output:
        diagnosis=report(
            "<expert>/diagnosis.json",
            caption="../workflow/report/diagnosis.rst",
            category="{experiment}",
            subcategory="diagnosis",
            labels={"what": "{expert}, seed {seed}"},
        ),
        record=record("diagnose"),
    log:
        "<logs>/{experiment}/diagnose/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/diagnose/{expert}-{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(500),
        runtime=scaled_by_attempt(10),
    params:
        recipes=of_expert(expert_recipes.possible_learned_recipes),
        targets=lambda w: config_section(experiment(w))["targets"],
        code=code("diagnose"),
    message:
        "{wildcards.experiment}: diagnose {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/diagnose.py"
