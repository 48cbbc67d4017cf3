"""Every file and record of an experiment -> audit.json."""

from tailproof.provenance.job import job

with job(snakemake):
    from tailproof.core.errors import TailproofError
    from tailproof.core.files import write_json
    from tailproof.provenance.audit import audit

    experiment = snakemake.wildcards.experiment
    found = audit(experiment)
    if not found.passed:
        first = [verdict.path for verdict in found.wrong] + found.broken
        raise TailproofError(
            f"{len(first)} things do not hold, the first: {first[0]}; see `tailproof audit "
            f"{experiment}`"
        )
    write_json(snakemake.output.audit, found.as_json())
