"""Every file and record of an experiment -> audit.json."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.files import write_json
    from tailproof.provenance.audit import audit
    from tailproof.runtime.errors import TailproofError
    from tailproof.text import quantity

    experiment = snakemake.wildcards.experiment
    result = audit(experiment)
    if not result.passed:
        problems = [verdict.path for verdict in result.wrong] + result.broken
        raise TailproofError(
            f"the audit of '{experiment}' fails ({quantity(len(problems), 'problem')}, the first: "
            f"{problems[0]}): see `tailproof audit {experiment}`"
        )
    write_json(snakemake.output.audit, result.as_json())
