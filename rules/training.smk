# shards -> experts


rule train:
    input:
        manifest=rules.manifest.output.manifest,
        # A network learns from the shards, a head from features.
        shards=pipeline.shards_of_networks("train", "val"),
        features=pipeline.features_of("train", "val"),
        pretrained=pipeline.pretrained_of(".safetensors", ".json"),
        teacher=lambda w: (
            f"{RESULTS}/{w.experiment}/experts/teacher-{w.seed}.parquet"
            if w.expert in experiment(w).students
            else []
        ),
        standing=lambda w: rung_standing(w, expert_recipes.rung_of(w.expert)),
    output:
        weights="<expert>/model.safetensors",
        config="<expert>/config.json",
        history="<expert>/history.csv",
        training="<expert>/training.json",
        record=record("train"),
    log:
        "<logs>/{experiment}/train/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/train/{expert}-{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: lambda w: cores(recipe(w))
    resources:
        # How much: tailproof.preflight.slurm_resources, and what the preflight measured.
        mem_mb=measured_resource("memory_mb_a_node"),
        runtime=measured_resource("minutes"),
        gpu=lambda w: recipe(w).devices * recipe(w).nodes,
        nodes=lambda w: recipe(w).nodes,
        tasks=lambda w: recipe(w).nodes,
        tasks_per_gpu=0,
        # On several nodes, the stage itself starts a process on each of them.
        mpi=lambda w: "srun" if recipe(w).nodes > 1 else None,
        cleared=cleared,
        # A resource, because resources reach a script and never make its outputs stale. A
        # parameter would make experts stale when, for instance, the number of workers changes.
        execution=of_expert(expert_recipes.execution_of),
    params:
        recipe=of_expert(expert_recipes.learned_recipe),
        features=of_expert(expert_recipes.possible_features),
        script=of_expert(expert_recipes.trainer_of),
        code=lambda w: code("train", of_expert(expert_recipes.trainer_of)(w)),
    message:
        "{wildcards.experiment}: train {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/{params.script}.py"


# Trains a point of a sweep up to its rung. The rule train, or the next rung, resumes from its state
# in .state. The state need not be an input: its name is a digest of everything that decides its
# content, and a run without a state trains from the start to exactly the same bytes.
use rule train as rung with:
    output:
        history="<expert>/rung.csv",
        record=record("rung"),
    log:
        "<logs>/{experiment}/rung/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/rung/{expert}-{seed}.tsv"
    params:
        recipe=of_expert(expert_recipes.learned_recipe),
        features=of_expert(expert_recipes.possible_features),
        until=lambda w: experiment(w).sweep.halving.rungs[
            expert_recipes.rung_of(w.expert) - 1
        ],
        script=of_expert(expert_recipes.trainer_of),
        code=lambda w: code("rung", of_expert(expert_recipes.trainer_of)(w)),
    message:
        "{wildcards.experiment}: train {wildcards.expert}, seed {wildcards.seed}, for a rung"
