# shards of train -> an image of each class for the report


rule thumbnails:
    input:
        manifest=rules.manifest.output.manifest,
        shards=shards_of("train"),
    output:
        thumbnails="<results>/{experiment}/thumbnails.json",
        record=record("thumbnails"),
    log:
        "<logs>/{experiment}/thumbnails.log",
    benchmark:
        "<logs>/{experiment}/thumbnails.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("thumbnails"),
    message:
        "{wildcards.experiment}: thumbnails of the classes"
    script:
        "../workflow/scripts/thumbnails.py"
