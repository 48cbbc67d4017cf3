# shards + pretrained weights -> features/KEY, shared by all experiments


rule embed:
    input:
        pretrained=pipeline.pretrained_of_features(".safetensors", ".json"),
        shards=pipeline.shards_of_features("part-{part}.parquet"),
        shard_facts=pipeline.shards_of_features("part-{part}.json"),
        pixel_sums=pipeline.pixel_sums_of_features,
    output:
        features=expand(
            "<features>/{key}/{split}.parquet/part-{part}.parquet",
            split=SPLITS,
            allow_missing=True,
        ),
        record=record_path(FEATURES, "embed", "{key}-{part}"),
    log:
        "<logs>/features/{key}-{part}.log",
    benchmark:
        "<logs>/features/{key}-{part}.tsv"
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
        code=code("embed"),
    message:
        "embed part {wildcards.part} for {wildcards.key}"
    script:
        "../workflow/scripts/embed.py"
