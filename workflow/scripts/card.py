"""Measurements of an expert -> README.md, example.py and two files for `tailproof predict`."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import Evaluation
    from tailproof.model_card.card import write_card
    from tailproof.model_card.expert_facts import ExpertFacts

    files = dict(snakemake.input.items())
    rejectors, weights = map(files.pop, ("rejectors", "weights"))
    facts = ExpertFacts.read(
        files,
        weights,
        Evaluation(**snakemake.params.evaluation),
        experiment=snakemake.wildcards.experiment,
        title=snakemake.params.title,
        source=snakemake.params.source,
        expert=snakemake.wildcards.expert,
        seed=int(snakemake.wildcards.seed),
    )
    output = snakemake.output
    write_card(
        facts, rejectors, output.readme, output.example, output.deployment, output.guarantees
    )
