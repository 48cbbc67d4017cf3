# points -> promotion from rung to rung -> the winner, an expert like the others


ruleorder: winner > train


rule promote:
    input:
        histories=files_of(lambda w: experiment(w).rounds[int(w.rung) - 1], "rung.csv"),
        before=lambda w: rung_standing(w, int(w.rung)),
    output:
        standing="<winner>/rung-{rung}.json",
        record=record("promote"),
    log:
        "<logs>/{experiment}/promote/rung-{rung}.log",
    benchmark:
        "<logs>/{experiment}/promote/rung-{rung}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(500),
        runtime=scaled_by_attempt(10),
    params:
        seeds=lambda w: experiment(w).seeds,
        recipe=lambda w: experiment(w).recipe.result_fields(),
        sweep=lambda w: config_section(experiment(w).sweep),
        code=code("promote"),
    message:
        "{wildcards.experiment}: promote after rung {wildcards.rung}"
    script:
        "../workflow/scripts/promote.py"


rule selection:
    input:
        rungs=files_of(
            lambda w: [name for names in experiment(w).rounds[:-1] for name in names],
            "rung.csv",
        ),
        histories=files_of(lambda w: experiment(w).rounds[-1], "history.csv"),
        standings=lambda w: [
            rung_standing(w, rung) for rung in range(2, len(experiment(w).rounds) + 1)
        ],
    output:
        selection="<winner>/selection.json",
        points="<winner>/points.csv",
        record=record("selection"),
    log:
        "<logs>/{experiment}/selection.log",
    benchmark:
        "<logs>/{experiment}/selection.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(500),
        runtime=scaled_by_attempt(10),
    params:
        seeds=lambda w: experiment(w).seeds,
        recipe=lambda w: experiment(w).recipe.result_fields(),
        sweep=lambda w: config_section(experiment(w).sweep),
        code=code("selection"),
    message:
        "{wildcards.experiment}: select the winner of the sweep"
    script:
        "../workflow/scripts/selection.py"


rule winner:
    input:
        selection=rules.selection.output.selection,
        candidates=lambda w: expand(
            f"{EXPERT_FOLDER}/{{file}}",
            experiment=w.experiment,
            expert=experiment(w).rounds[-1],
            seed=w.seed,
            file=TRAINED,
        ),
    output:
        weights="<winner>/seed-{seed}/model.safetensors",
        config="<winner>/seed-{seed}/config.json",
        history="<winner>/seed-{seed}/history.csv",
        training="<winner>/seed-{seed}/training.json",
        record=record("winner"),
    log:
        "<logs>/{experiment}/winner/{seed}.log",
    benchmark:
        "<logs>/{experiment}/winner/{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(500),
        runtime=scaled_by_attempt(10),
    params:
        code=code("winner"),
    message:
        "{wildcards.experiment}: copy the winner, seed {wildcards.seed}"
    script:
        "../workflow/scripts/winner.py"
