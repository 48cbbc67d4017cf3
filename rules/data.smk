# raw collection -> samples, near duplicates -> six splits -> shards and their manifest


rule prepare:
    input:
        raw=lambda w: raw_of(w.experiment).inputs,
    output:
        samples="<results>/{experiment}/samples.parquet",
        raw="<results>/{experiment}/raw.parquet",
        summary="<results>/{experiment}/prepare.json",
        bad_images="<results>/{experiment}/bad_images.csv",
        thumbnails="<results>/{experiment}/near_duplicates/thumbnails.parquet",
        record=record("prepare"),
    log:
        "<logs>/{experiment}/prepare.log",
        # A second copy, because Snakemake deletes the outputs of a job that fails.
        bad_images="<logs>/{experiment}/bad_images.csv",
    benchmark:
        "<logs>/{experiment}/prepare.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(60),
    params:
        data=lambda w: data_section(
            experiment(w).data, "source", "on_bad_image", "max_bad_share"
        ),
        raw_digest=lambda w: raw_of(w.experiment).digest,
        code=code("prepare"),
    message:
        "{wildcards.experiment}: prepare the samples"
    script:
        "../workflow/scripts/prepare.py"


rule near_duplicates:
    input:
        thumbnails=rules.prepare.output.thumbnails,
    output:
        pairs="<results>/{experiment}/near_duplicates/pairs.parquet",
        record=record("near_duplicates"),
    log:
        "<logs>/{experiment}/near_duplicates.log",
    benchmark:
        "<logs>/{experiment}/near_duplicates.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(20),
    params:
        code=code("near_duplicates"),
    message:
        "{wildcards.experiment}: find near duplicates"
    script:
        "../workflow/scripts/near_duplicates.py"


rule context:
    input:
        samples=rules.prepare.output.samples,
        # The checksums of the tables: what changes in them changes the columns.
        raw=rules.prepare.output.raw,
    output:
        context="<results>/{experiment}/context.parquet",
        record=record("context"),
    log:
        "<logs>/{experiment}/context.log",
    benchmark:
        "<logs>/{experiment}/context.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(20),
    params:
        data=lambda w: config_section(experiment(w).data, "source", "context"),
        code=code("context"),
    message:
        "{wildcards.experiment}: read columns of context"
    script:
        "../workflow/scripts/context.py"


rule split:
    input:
        samples=rules.prepare.output.samples,
        near_duplicates=pairs_to_group,
    output:
        splits="<results>/{experiment}/splits.parquet",
        summary="<results>/{experiment}/splits.json",
        record=record("split"),
    log:
        "<logs>/{experiment}/split.log",
    benchmark:
        "<logs>/{experiment}/split.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(20),
    params:
        data=lambda w: data_section(
            experiment(w).data,
            "source",
            "target",
            "long_tail",
            "test_fraction",
            "splits",
            "seed",
        ),
        code=code("split"),
    message:
        "{wildcards.experiment}: split the samples"
    script:
        "../workflow/scripts/split.py"


rule leakage:
    input:
        samples=rules.prepare.output.samples,
        thumbnails=rules.prepare.output.thumbnails,
        pairs=rules.near_duplicates.output.pairs,
        splits=rules.split.output.splits,
    output:
        leakage="<results>/{experiment}/near_duplicates/leakage.json",
        cross_class="<results>/{experiment}/near_duplicates/cross_class_pairs.csv",
        record=record("leakage"),
    log:
        "<logs>/{experiment}/leakage.log",
    benchmark:
        "<logs>/{experiment}/leakage.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        data=lambda w: config_section(
            experiment(w).data, "source", "target", "near_duplicates"
        ),
        code=code("leakage"),
    message:
        "{wildcards.experiment}: count near duplicates in different splits"
    script:
        "../workflow/scripts/leakage.py"


rule shard:
    input:
        samples=rules.prepare.output.samples,
        splits=rules.split.output.splits,
    output:
        shard="<results>/{experiment}/shards/{split}/part-{part}.parquet",
        facts="<results>/{experiment}/shards/{split}/part-{part}.json",
        record=record("shard"),
    log:
        "<logs>/{experiment}/shard/{split}-{part}.log",
    benchmark:
        "<logs>/{experiment}/shard/{split}-{part}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(60),
    params:
        data=lambda w: data_section(
            experiment(w).data, "source", "seed", "shards_per_split"
        ),
        code=code("shard"),
    message:
        "{wildcards.experiment}: shard {wildcards.part} of {wildcards.split}"
    script:
        "../workflow/scripts/shard.py"


rule manifest:
    input:
        samples=rules.prepare.output.samples,
        facts=shards_of(*SPLITS, file="part-{part}.json"),
    output:
        manifest="<results>/{experiment}/shards/manifest.json",
        record=record("manifest"),
    log:
        "<logs>/{experiment}/manifest.log",
    benchmark:
        "<logs>/{experiment}/manifest.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        data=lambda w: config_section(
            experiment(w).data,
            "source",
            "target",
            "positive_class",
            "shards_per_split",
        ),
        code=code("manifest"),
    message:
        "{wildcards.experiment}: gather the manifest of the shards"
    script:
        "../workflow/scripts/manifest.py"


rule shortcut_probe:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train", "dev"),
    output:
        shortcuts="<results>/{experiment}/shortcuts.json",
        record=record("shortcut_probe"),
    log:
        "<logs>/{experiment}/shortcut_probe.log",
    benchmark:
        "<logs>/{experiment}/shortcut_probe.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        code=code("shortcut_probe"),
    message:
        "{wildcards.experiment}: probe the images for shortcuts"
    script:
        "../workflow/scripts/shortcut_probe.py"
