"""What was measured of an expert -> README.md, example.py and predict.json in its folder."""

from tailproof.provenance.job import job

with job(snakemake):
    from tailproof.card.card import write_card
    from tailproof.card.facts import Facts
    from tailproof.core.config.evaluation import Evaluation

    files = dict(snakemake.input.items())
    rejectors = files.pop("rejectors")
    facts = Facts.read(
        files,
        Evaluation(**snakemake.params.evaluation),
        experiment=snakemake.wildcards.experiment,
        title=snakemake.params.title,
        source=snakemake.params.source,
        expert=snakemake.wildcards.expert,
        seed=int(snakemake.wildcards.seed),
    )
    output = snakemake.output
    write_card(facts, rejectors, output.readme, output.example, output.predict)
