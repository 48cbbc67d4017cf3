# pretrained weights -> weights/KEY.safetensors, shared by all experiments


rule fetch:
    input:
        own=lambda w: checked(pipeline.own_weights, w.key),
    output:
        weights="<weights>/{key}.safetensors",
        facts="<weights>/{key}.json",
        record=record_path(WEIGHTS, "fetch", "{key}"),
    log:
        "<logs>/weights/{key}.log",
    benchmark:
        "<logs>/weights/{key}.tsv"
    # The nodes of a cluster may have no network.
    localrule: True
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(60),
    params:
        model=lambda w: checked(pipeline.weights_of, w.key).name,
        origin=lambda w: checked(pipeline.weights_of, w.key).weights,
        sha256=lambda w: checked(pipeline.weights_digest, w.key),
        config=lambda w: checked(pipeline.weights_config_digest, w.key),
        code=code("fetch"),
    message:
        "fetch the weights {wildcards.key}"
    script:
        "../workflow/scripts/fetch.py"
