# experts -> raw logits of all six splits, one job per expert and seed


rule infer:
    input:
        weights="<expert>/model.safetensors",
        config="<expert>/config.json",
        manifest=rules.manifest.output.manifest,
        # A network reads the shards, a head features.
        shards=pipeline.shards_of_networks(*SPLITS),
        features=pipeline.features_of(*SPLITS),
    output:
        logits=expand(
            "<expert>/raw_logits/{split}.parquet", split=SPLITS, allow_missing=True
        ),
        record=record("infer"),
    log:
        "<logs>/{experiment}/infer/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/infer/{expert}-{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: lambda w: recipe(w).threads
    resources:
        mem_mb=scaled_by_attempt(lambda w: memory_mb(recipe(w))),
        runtime=scaled_by_attempt(120),
        gpu=of_expert(expert_recipes.gpus_of_inference),
        cpus_per_task=lambda w: recipe(w).threads + recipe(w).workers,
        execution=of_expert(expert_recipes.execution_of),
    params:
        features=of_expert(expert_recipes.possible_features),
        script=of_expert(expert_recipes.inferrer_of),
        code=lambda w: code("infer", of_expert(expert_recipes.inferrer_of)(w)),
    message:
        "{wildcards.experiment}: infer with {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/{params.script}.py"
