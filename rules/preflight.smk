# shards + configuration -> what training is about to do, and whether it may start


rule preflight:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "val"),
    output:
        preflight="results/{experiment}/preflight.json",
        probe="results/{experiment}/preflight_probe.json",
        page="results/{experiment}/preflight.md",
        record=record("preflight"),
    log:
        "logs/{experiment}/preflight.log",
    benchmark:
        "logs/{experiment}/preflight.tsv"
    conda:
        "../envs/torch.yaml"
    threads: most(lambda recipe: recipe.threads)
    resources:
        mem_mb=lambda w, attempt: attempt * most(memory_mb)(w),
        runtime=growing(30),
        gpu=1,
        cpus_per_task=most(lambda recipe: recipe.threads + recipe.workers),
        running=running_of_all,
    params:
        recipes=lambda w: {name: each.learning() for name, each in everyone(w).items()},
        code=code("preflight"),
    message:
        "{wildcards.experiment}: preflight"
    script:
        "../workflow/scripts/preflight.py"


rule clearance:
    input:
        preflight=rules.preflight.output.preflight,
        probe=rules.preflight.output.probe,
    output:
        # Not deleted before it is made again: without it finished experts would count as stale.
        clearance=update("results/{experiment}/clearance.json"),
        record=record("clearance"),
    log:
        "logs/{experiment}/clearance.log",
    benchmark:
        "logs/{experiment}/clearance.tsv"
    localrule: True
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        accept=lambda w: experiment(w).preflight.accept,
        code=code("clearance"),
    message:
        "{wildcards.experiment}: clear training"
    script:
        "../workflow/scripts/clearance.py"
