# shards + configuration -> what training is about to do, and what is wrong with it


rule preflight:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "val"),
    output:
        preflight="results/{experiment}/preflight.json",
        probe="results/{experiment}/preflight_timing.json",
        page=report(
            "results/{experiment}/preflight.md",
            caption="../workflow/report/preflight.rst",
            category="{experiment}",
            labels={"what": "preflight"},
        ),
        record=record("preflight"),
    log:
        "logs/{experiment}/preflight.log",
    benchmark:
        "logs/{experiment}/preflight.tsv"
    priority: 1
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
        recipes=lambda w: {name: each.result_fields() for name, each in everyone(w).items()},
        code=code("preflight"),
    message:
        "{wildcards.experiment}: preflight"
    script:
        "../workflow/scripts/preflight.py"
