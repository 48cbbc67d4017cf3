"""Every file and record of an experiment -> audit.json."""

from tailproof.runtime.stage import job

with job(snakemake):
    from tailproof.files import write_json
    from tailproof.provenance.audit import audit
    from tailproof.runtime.errors import TailproofError

    experiment = snakemake.wildcards.experiment
    found = audit(experiment)
    if not found.passed:
        first = [verdict.path for verdict in found.wrong] + found.broken
        raise TailproofError(
            f"{len(first)} things do not hold, the first: {first[0]}; see `tailproof audit "
            f"{experiment}`"
        )
    write_json(snakemake.output.audit, found.as_json())
