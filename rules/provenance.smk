# records and all files of the results -> audit


rule audit:
    input:
        page=rules.report.output.page,
        records=records_so_far,
        report=rules.report.output.record,
    output:
        audit="<results>/{experiment}/audit.json",
        record=record("audit"),
    log:
        "<logs>/{experiment}/audit.log",
    benchmark:
        "<logs>/{experiment}/audit.tsv"
    conda:
        "../envs/audit.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(60),
    params:
        code=code("audit"),
    message:
        "{wildcards.experiment}: audit every file"
    script:
        "../workflow/scripts/audit.py"
