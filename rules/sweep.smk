# points -> some go on from rung to rung -> the winner, an expert like the others
from tailproof.sweep.selection import FILES

WINNER_FOLDER = f"results/{{experiment}}/experts/{WINNER}"


ruleorder: winner > train


rule rung:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "val"),
        weights=initial_weights,
        standing=standing,
    output:
        history=f"{SEED_FOLDER}/rung.csv",
        record=record("rung", "{expert}-{seed}"),
    log:
        "logs/{experiment}/rung/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/rung/{expert}-{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: cores
    resources:
        mem_mb=requested("memory_mb_a_node"),
        runtime=requested("minutes"),
        gpu=lambda w: recipe(w).devices * recipe(w).nodes,
        nodes=lambda w: recipe(w).nodes,
        tasks=lambda w: recipe(w).nodes,
        tasks_per_gpu=0,
        # The stage itself starts a process on each of several nodes.
        mpi=lambda w: "srun" if recipe(w).nodes > 1 else None,
        cleared=cleared,
        running=running,
    params:
        recipe=learning,
        until=lambda w: experiment(w).sweep.halving.rungs[rung_of(w.expert) - 1],
        # Its digest names the state that the rule train goes on from.
        trains=code("train"),
        code=code("rung"),
    message:
        "{wildcards.experiment}: train {wildcards.expert}, seed {wildcards.seed}, for a rung"
    script:
        "../workflow/scripts/rung.py"


rule promote:
    input:
        histories=lambda w: of_round(w, int(w.rung)),
        before=lambda w: standing_before(w, int(w.rung)),
    output:
        standing=f"{WINNER_FOLDER}/rung-{{rung}}.json",
        record=record("promote", "rung-{rung}"),
    log:
        "logs/{experiment}/promote/rung-{rung}.log",
    benchmark:
        "logs/{experiment}/promote/rung-{rung}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        seeds=lambda w: experiment(w).seeds,
        recipe=lambda w: experiment(w).recipe.result_fields(),
        sweep=lambda w: plain(experiment(w).sweep),
        code=code("promote"),
    message:
        "{wildcards.experiment}: promote after rung {wildcards.rung}"
    script:
        "../workflow/scripts/promote.py"


rule selection:
    input:
        histories=lambda w: [
            path
            for number, _ in enumerate(experiment(w).rounds, 1)
            for path in of_round(w, number)
        ],
        standings=lambda w: [
            standing_before(w, rung)
            for rung in range(2, len(experiment(w).rounds) + 1)
        ],
    output:
        selection=f"{WINNER_FOLDER}/selection.json",
        points=f"{WINNER_FOLDER}/points.csv",
        record=record("selection"),
    log:
        "logs/{experiment}/selection.log",
    benchmark:
        "logs/{experiment}/selection.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        seeds=lambda w: experiment(w).seeds,
        recipe=lambda w: experiment(w).recipe.result_fields(),
        sweep=lambda w: plain(experiment(w).sweep),
        code=code("selection"),
    message:
        "{wildcards.experiment}: select the winner of the sweep"
    script:
        "../workflow/scripts/selection.py"


rule winner:
    input:
        selection=rules.selection.output.selection,
        candidates=lambda w: [
            f"{SEED_FOLDER}/{name}".format(**w, expert=expert)
            for expert in experiment(w).rounds[-1]
            for name in FILES
        ],
    output:
        weights=f"{WINNER_FOLDER}/seed-{{seed}}/model.safetensors",
        config=f"{WINNER_FOLDER}/seed-{{seed}}/config.json",
        history=f"{WINNER_FOLDER}/seed-{{seed}}/history.csv",
        training=f"{WINNER_FOLDER}/seed-{{seed}}/training.json",
        record=record("winner", f"{WINNER}-{{seed}}"),
    log:
        "logs/{experiment}/winner/{seed}.log",
    benchmark:
        "logs/{experiment}/winner/{seed}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        code=code("winner"),
    message:
        "{wildcards.experiment}: copy the winner, seed {wildcards.seed}"
    script:
        "../workflow/scripts/winner.py"
