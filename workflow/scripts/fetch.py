"""Published weights or a checkpoint -> weights in timm's names, and the facts about them."""

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.models.fetch import fetch

    params, output = snakemake.params, snakemake.output
    own = bool(snakemake.input.own)
    facts = fetch(params.model, params.origin, output.weights, output.facts, own=own)
    stage.results.update({name: facts[name] for name in ("origin", "sha256", "licence")})
