# shards of unknown pictures -> their manifest and features -> how well experts know each picture

from tailproof.config.splits import SCORED_SPLITS


rule manifest_unknown:
    input:
        manifest=rules.manifest.output.manifest,
        samples=rules.prepare.output.samples,
        facts=pipeline.shards_of_unknown("part-{part}.json"),
    output:
        manifest="<results>/{experiment}/shards/unknown.json",
        record=record("manifest_unknown"),
    log:
        "<logs>/{experiment}/manifest_unknown.log",
    benchmark:
        "<logs>/{experiment}/manifest_unknown.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("manifest_unknown"),
    message:
        "{wildcards.experiment}: gather the manifest of the unknown pictures"
    script:
        "../workflow/scripts/manifest_unknown.py"


rule embed_unknown:
    input:
        pretrained=pipeline.pretrained_of_features(".safetensors", ".json"),
        shards=expand(
            "<results>/{experiment}/shards/{split}/part-{part}.parquet",
            split=UNKNOWN_SPLITS,
            allow_missing=True,
        ),
        shard_facts=expand(
            "<results>/{experiment}/shards/{split}/part-{part}.json",
            split=UNKNOWN_SPLITS,
            allow_missing=True,
        ),
        pixel_sums=pipeline.pixel_sums_of_features,
    output:
        features=expand(
            "<results>/{experiment}/shards/unknown_features/{key}/{split}.parquet/part-{part}.parquet",
            split=UNKNOWN_SPLITS,
            allow_missing=True,
        ),
        record=record("embed_unknown"),
    log:
        "<logs>/{experiment}/embed_unknown/{key}-{part}.log",
    benchmark:
        "<logs>/{experiment}/embed_unknown/{key}-{part}.tsv"
    conda:
        "../envs/torch.yaml"
    # All cores; the features do not depend on their number.
    threads: 16
    resources:
        mem_mb=scaled_by_attempt(16000),
        runtime=scaled_by_attempt(240),
        gpu=1,
    params:
        model=lambda w: config_section(
            checked(pipeline.backbone_of_features, w.key).model
        ),
        normalize=lambda w: checked(pipeline.backbone_of_features, w.key).normalize,
        features=lambda w: config_section(
            checked(pipeline.backbone_of_features, w.key).features
        ),
        code=code("embed_unknown"),
    message:
        "{wildcards.experiment}: embed part {wildcards.part} of the unknown pictures"
    script:
        "../workflow/scripts/embed_unknown.py"


rule score_unknown:
    input:
        weights="<expert>/model.safetensors",
        config="<expert>/config.json",
        manifest=rules.manifest.output.manifest,
        unknown=pipeline.unknown_manifest,
        # A network reads the shards, a head features.
        shards=pipeline.shards_of_networks(*SCORED_SPLITS),
        features=pipeline.features_of(*SCORED_SPLITS),
        unknown_shards=pipeline.unknown_of_network,
        unknown_features=pipeline.unknown_features,
    output:
        scores="<expert>/unknown_scores.parquet",
        known="<expert>/unknown.safetensors",
        record=record("score_unknown"),
    log:
        "<logs>/{experiment}/score_unknown/{expert}-{seed}.log",
    benchmark:
        "<logs>/{experiment}/score_unknown/{expert}-{seed}.tsv"
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
        script=of_expert(expert_recipes.scorer_of),
        code=lambda w: code("score_unknown", of_expert(expert_recipes.scorer_of)(w)),
    message:
        "{wildcards.experiment}: score unknown pictures with {wildcards.expert}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/{params.script}.py"
