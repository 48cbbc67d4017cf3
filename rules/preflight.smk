# shards + configuration -> preview of training, its cost, and problems of the configuration


rule preflight:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "val"),
        pretrained=pipeline.pretrained_of_all(".json"),
    output:
        preflight="<results>/{experiment}/preflight.json",
        timing="<results>/{experiment}/preflight_timing.json",
        page=report(
            "<results>/{experiment}/preflight.md",
            caption="../workflow/report/preflight.rst",
            category="{experiment}",
            labels={"what": "preflight"},
        ),
        record=record("preflight"),
    log:
        "<logs>/{experiment}/preflight.log",
    benchmark:
        "<logs>/{experiment}/preflight.tsv"
    priority: 1
    conda:
        "../envs/torch.yaml"
    threads: max_over_recipes(lambda recipe: recipe.threads)
    resources:
        mem_mb=scaled_by_attempt(max_over_recipes(memory_mb)),
        runtime=scaled_by_attempt(30),
        gpu=1,
        cpus_per_task=max_over_recipes(lambda recipe: recipe.threads + recipe.workers),
        execution=lambda w: expert_recipes.execution_of_all(experiment(w)),
    params:
        recipes=lambda w: {
            name: recipe.result_fields()
            for name, recipe in expert_recipes.all_recipes(experiment(w)).items()
        },
        code=code("preflight"),
    message:
        "{wildcards.experiment}: preflight"
    script:
        "../workflow/scripts/preflight.py"
