# shards -> experts


rule train:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "val"),
        weights=initial_weights,
        standing=standing,
    output:
        weights=f"{SEED_FOLDER}/model.safetensors",
        config=f"{SEED_FOLDER}/config.json",
        history=f"{SEED_FOLDER}/history.csv",
        training=f"{SEED_FOLDER}/training.json",
        record=record("train", "{expert}-{seed}"),
    log:
        "logs/{experiment}/train/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/train/{expert}-{seed}.tsv"
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
        code=code("train"),
    message:
        "{wildcards.experiment}: train {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/train.py"
