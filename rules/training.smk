# shards -> experts


rule train:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "val"),
        weights=initial_weights,
    output:
        weights=f"{SEED_FOLDER}/model.safetensors",
        config=f"{SEED_FOLDER}/config.json",
        history=f"{SEED_FOLDER}/history.csv",
        training=f"{SEED_FOLDER}/training.json",
    log:
        "logs/{experiment}/train/{expert}-{seed}.log",
    benchmark:
        "logs/{experiment}/train/{expert}-{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: lambda w: recipe(w).threads
    resources:
        mem_mb=4000,
        runtime=720,
        running=running,
    params:
        recipe=lambda w: recipe(w).learning(),
        code=code("train.py"),
    message:
        "{wildcards.experiment}: train {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/train.py"
