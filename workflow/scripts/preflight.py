"""Configuration and shards -> preview of training: preflight.json, preflight.md and timings."""

import json

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.recipe import Recipe
    from tailproof.diagnosis.finding import for_record
    from tailproof.files import write_json, write_text
    from tailproof.preflight.experiment_facts import facts_of
    from tailproof.preflight.markdown_page import page
    from tailproof.preflight.normalizations import normalizations
    from tailproof.preflight.summary import describe
    from tailproof.preflight.timing import measure, structures
    from tailproof.preflight.tried_transforms import tried_transforms
    from tailproof.training.preprocessing import with_backbone_size

    manifest, output = snakemake.input.manifest, snakemake.output
    execution = json.loads(snakemake.resources.execution)
    recipes = {
        name: with_backbone_size(
            Recipe(**learning, **execution["others"].get(name, execution["usual"]))
        )
        for name, learning in snakemake.params.recipes.items()
    }
    preview = describe(
        facts_of(manifest, recipes),
        normalizations(manifest, recipes),
        structures(manifest, recipes),
        tried_transforms(manifest, recipes),
    )
    timing = measure(manifest, recipes)
    write_json(output.preflight, preview)
    write_json(output.timing, timing)
    write_text(output.page, page(snakemake.wildcards.experiment, preview, timing))
    findings = [*preview["findings"], *timing["findings"]]
    stage.results["findings"] = [for_record(finding) for finding in findings]
